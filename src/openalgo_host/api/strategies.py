"""Calls about strategies: users manage theirs, and a strategy's run has its own state."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from marshmallow import fields, validate

from openalgo_cache import UnsupportedValueError, ValueTooLargeError
from openalgo_cache.strategies import RunReplacedError, StaleStateError
from openalgo_host.api.calls import Answer, Calls, Fields, RefusedCallError
from openalgo_host.api.schemas import Call, Text
from openalgo_host.leases import Lease, check
from openalgo_host.strategies import RefusedStrategyError, StrategyView, UnknownStrategyError

if TYPE_CHECKING:
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host


class AddStrategy(Call):
    """A new strategy."""

    name = Text(required=True)
    source = fields.String(required=True)
    schedule = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)


class ChangeStrategy(Call):
    """What becomes of a strategy; what is left out stays."""

    id = Text(required=True)
    name = Text()
    source = fields.String()
    schedule = fields.Dict(keys=fields.String(), allow_none=True)


class OneStrategy(Call):
    """Which strategy."""

    id = Text(required=True)


class StateCall(Call):
    """Whose state; a run has its own."""

    id = Text(load_default=None)


class SaveState(StateCall):
    """A state, and which version it replaces."""

    version = fields.Integer(required=True, strict=True, validate=validate.Range(0, 2**53))
    state = fields.Dict(keys=fields.String(), required=True)


def add(calls: Calls, host: Host) -> None:  # noqa: C901  # a list of calls
    """Add them."""
    strategies = host.strategies
    calls.refuses(UnknownStrategyError, 404, "Strategy not found")
    calls.refuses(RefusedStrategyError, 400)
    calls.refuses(RunReplacedError, 403)
    calls.refuses(StaleStateError, 409)
    calls.refuses(UnsupportedValueError, 400)
    calls.refuses(ValueTooLargeError, 413)

    @calls.post("/strategy/list", Call)
    def list_strategies(caller: Caller, _call: Fields) -> Answer:
        return {"data": [_shown(view) for view in strategies.list(_user(caller))]}

    @calls.post("/strategy/get", OneStrategy)
    def get_strategy(caller: Caller, call: Fields) -> Answer:
        user = _user(caller)
        return {"data": {**_shown(strategies.get(user, call["id"])), "source": strategies.source(user, call["id"])}}

    @calls.post("/strategy/add", AddStrategy)
    def add_strategy(caller: Caller, call: Fields) -> Answer:
        return {"data": _shown(strategies.add(_user(caller), call["name"], call["source"], call["schedule"]))}

    @calls.post("/strategy/change", ChangeStrategy)
    def change_strategy(caller: Caller, call: Fields) -> Answer:
        return {"data": _shown(strategies.change(_user(caller), call.pop("id"), **call))}

    @calls.post("/strategy/start", OneStrategy)
    def start_strategy(caller: Caller, call: Fields) -> Answer:
        return {"data": _shown(strategies.start(_user(caller), call["id"]))}

    @calls.post("/strategy/stop", OneStrategy)
    def stop_strategy(caller: Caller, call: Fields) -> Answer:
        return {"data": _shown(strategies.stop(_user(caller), call["id"]))}

    @calls.post("/strategy/remove", OneStrategy)
    def remove_strategy(caller: Caller, call: Fields) -> Answer:
        strategies.remove(_user(caller), call["id"])
        return {"message": "Strategy removed"}

    @calls.post("/strategy/log", OneStrategy)
    def strategy_log(caller: Caller, call: Fields) -> Answer:
        return {"data": {"log": strategies.log_tail(_user(caller), call["id"])}}

    @calls.post("/strategy/state", StateCall)
    def strategy_state(caller: Caller, call: Fields) -> Answer:
        if caller.lease is not None:  # a run that was replaced learns it here, before it decides anything
            with host.database.reading() as session:
                check(session, caller.lease)
        version, data = strategies.state(caller.user_id, _whose(caller, call))
        return {"data": {"version": version, "state": data}}

    @calls.post("/strategy/state/save", SaveState)
    def save_strategy_state(caller: Caller, call: Fields) -> Answer:
        if caller.lease is None:
            raise RefusedCallError(403, "Only a strategy's run can save its state")
        strategy_id, fence = _whose(caller, call), caller.lease.fence
        version = strategies.save_state(caller.user_id, strategy_id, call["state"], call["version"], fence)
        return {"data": {"version": version}}


def _user(caller: Caller) -> int:
    """Return the user who manages strategies: no strategy does, lest one that went wrong start others."""
    if caller.lease is not None:
        raise RefusedCallError(403, "A strategy's key cannot manage strategies")
    return caller.user_id


def _whose(caller: Caller, call: Fields) -> str:
    """Return the number of the strategy that a call is about: a run's own, or the one that a user names."""
    given: str | None = call["id"]
    if caller.lease is None:
        if given is None:
            raise RefusedCallError(400, {"id": ["Missing data for required field."]})
        return given
    own = _strategy_of(caller.lease)
    if given not in {None, own}:
        raise RefusedCallError(403, "A strategy's key is for its own state only")
    return own


def _strategy_of(lease: Lease) -> str:
    return lease.name.removeprefix("strategy/")


def _shown(view: StrategyView) -> dict[str, Any]:
    return asdict(view)

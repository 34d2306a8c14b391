"""A strategy's own durable state: a dict that is there again after a crash, a restart, or a night.

``save`` writes all of it, or nothing. A block does the same at its end, and takes back what an exception left half
done::

    with mine:
        mine["position"] += 10
        mine["last"] = price
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections.abc import Callable, Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from openalgo_cache.errors import UnsupportedValueError
from openalgo_cache.strategies.calls import HostCalls
from openalgo_cache.strategies.errors import HostUnavailableError, OrderRefusedError

_VALUES: Final = "values"
_ORDERS: Final = "orders"

_FINAL: Final = frozenset({200, 400, 403, 404, 405, 409, 413, 415, 422})
"""Statuses with which an answer to an order is a verdict: it was looked at, and nothing will come of it."""

Answer = dict[str, Any]


class StrategyState(MutableMapping[str, Any]):
    """The state of the strategy whose key this is, and its orders.

    Values are what JSON has: None, bool, int, float, str, lists, and dicts with str keys.

    Args:
        calls: How the host is reached.
        version: Which version was loaded.
        document: What was in it.
    """

    def __init__(self, calls: HostCalls, version: int, document: dict[str, Any]) -> None:
        self._calls = calls
        self._version = version
        self._document: dict[str, dict[str, Any]] = {_VALUES: {}, _ORDERS: {}, **document}
        self._saved = _text(self._document)
        self._lock = threading.RLock()

    @classmethod
    def load(cls, server: str | None = None, api_key: str | None = None, patience: float = 30.0) -> Self:
        """Return the state as it was saved last; it is empty at first.

        Args:
            server: The host's address; left out, HOST_SERVER of the environment, where the host puts it.
            api_key: The run's key; left out, OPENALGO_API_KEY, likewise.
            patience: Seconds for which this, and every save and order, is tried while the host is away.

        Raises:
            ConfigurationError: Address or key are missing.
            HostUnavailableError: The host does not answer.
            RunReplacedError: This run was stopped, or another one has taken its place.
        """
        calls = HostCalls(server, api_key, patience)
        there = calls.ask("/strategy/state")["data"]
        return cls(calls, there["version"], there["state"])

    @property
    def server(self) -> str:
        """The host's address."""
        return self._calls.server

    @property
    def api_key(self) -> str:
        """The run's key, for the API's own client."""
        return self._calls.api_key

    def save(self) -> None:
        """Make what is in it now durable; nothing is sent if nothing has changed.

        Raises:
            UnsupportedValueError: A value would not come back equal; the message says which.
            HostUnavailableError: The host does not answer: it may have been saved, or not. Saving again is right.
            RunReplacedError: This run was stopped, or another one has taken its place: end.
            StaleStateError: Somebody else has saved meanwhile.
            HostRefusedError: It is too large: the host takes about 60 KiB.
        """
        with self._lock:
            text = _text(self._document)
            if text != self._saved:
                answer = self._calls.ask("/strategy/state/save", version=self._version, state=self._document)
                self._version, self._saved = answer["data"]["version"], text

    def order(self, name: str, place: Callable[..., Answer], **fields: Any) -> Answer:
        """Place an order once, however often this is called and whatever is killed meanwhile; return the answer.

        What is wanted is saved first, under an idempotency key. Then it is sent; then the answer is saved. Called again
        under the same name, also by a later run, it returns the answer that is there, or sends what was saved once
        more: under the same key, so that the host places it once. This saves the whole state.

        Args:
            name: The strategy's own name for the order, such as ``"entry 2026-03-02"``.
            place: Sends it, such as ``client.placeorder`` of the API's client; gets ``idempotency_key`` besides.
            **fields: Of the order. Those of the first call count.

        Raises:
            OrderRefusedError: It was refused for good. The name is free again.
            HostUnavailableError: There is no answer yet: it may have been placed, or not. Calling again is right.
            RunReplacedError: This run was stopped, or another one has taken its place: end.
        """
        with self._lock:
            orders = self._document[_ORDERS]
            if name not in orders:
                orders[name] = {"key": secrets.token_hex(16), "fields": fields}
            wanted = orders[name]
            self.save()
            if "answer" not in wanted:
                try:
                    wanted["answer"] = self._calls.patiently(lambda: _placed(place, wanted))
                except OrderRefusedError:
                    self._calls.ask("/strategy/state")  # it may have been refused since this run was replaced
                    del orders[name]
                    raise
                finally:
                    self.save()
            answer: Answer = wanted["answer"]
            return dict(answer)

    def forget_order(self, name: str) -> None:
        """Forget an order that was answered, so that the state stays small and the name can be used again.

        Raises:
            KeyError: There is no answered order of that name.
        """
        with self._lock:
            if "answer" not in self._document[_ORDERS].get(name, {}):
                raise KeyError(name)
            del self._document[_ORDERS][name]

    def unanswered(self) -> list[str]:
        """Return the names of the orders of which it is not known yet whether they were placed: order them again."""
        with self._lock:
            return [name for name, wanted in self._document[_ORDERS].items() if "answer" not in wanted]

    # --- a block ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.save()
            else:
                self._document = json.loads(self._saved)
        finally:
            self._lock.release()

    # --- the face of a dict -------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        return self._document[_VALUES][name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._document[_VALUES][name] = value

    def __delitem__(self, name: str) -> None:
        del self._document[_VALUES][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document[_VALUES])

    def __len__(self) -> int:
        return len(self._document[_VALUES])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} version {self._version}, {len(self)} values>"


def _placed(place: Callable[..., Answer], wanted: dict[str, Any]) -> Answer:
    """Send an order, and tell a verdict from an answer that leaves it open whether it was placed."""
    answer = place(**wanted["fields"], idempotency_key=wanted["key"])
    if answer.get("status") == "success":
        return answer
    message = str(answer.get("message", ""))
    if answer.get("code") in _FINAL:
        raise OrderRefusedError(message)
    raise HostUnavailableError(f"no answer to an order yet: {message}")


def _text(document: dict[str, Any]) -> str:
    _check(document, "")
    return json.dumps(document, allow_nan=False)


def _check(value: Any, path: str) -> None:
    """Refuse what would not come back equal and of the same type."""
    kind = type(value)
    if kind is dict:
        for name, one in value.items():
            if type(name) is not str:
                raise UnsupportedValueError(f"the state{path}: a key is a str, not {type(name).__name__}")
            _check(one, f"{path}[{name!r}]")
    elif kind is list:
        for nth, one in enumerate(value):
            _check(one, f"{path}[{nth}]")
    elif (kind is float and not math.isfinite(value)) or kind not in {type(None), bool, int, float, str}:
        raise UnsupportedValueError(f"the state{path}: {kind.__name__} is no value of JSON, or infinite")

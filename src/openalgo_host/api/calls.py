"""What every call of the API goes through: its body is read and checked, its key and its limit looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request
from marshmallow import ValidationError

from openalgo_host.leases import FencedOffError
from openalgo_host.sandbox.ticket import RefusedOrderError

if TYPE_CHECKING:
    from openalgo_host.api.schemas import Call
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host
    from openalgo_host.limits import RateLimit

Fields = dict[str, Any]
Answer = dict[str, Any]
View = Callable[["Caller", Fields], Answer]


class RefusedCallError(Exception):
    """A call that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: What is wrong; for a body with wrong fields a list for each of those.
    """

    def __init__(self, status: int, message: str | dict[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.message = message


class Calls:
    """Adds calls to a blueprint.

    Args:
        host: Whose they are.
        blueprint: Where they go.
    """

    def __init__(self, host: Host, blueprint: Blueprint) -> None:
        self._host = host
        self._blueprint = blueprint
        answer_errors(blueprint)

    def refuses(self, kind: type[Exception], status: int, message: str = "") -> None:
        """Answer a kind of error with a status, and with its own message unless another one is given."""
        self._blueprint.register_error_handler(kind, lambda error: _error(status, message or str(error)))

    def post(
        self, path: str, schema: type[Call], limit: RateLimit | None = None, *, trades: bool = False
    ) -> Callable[[View], View]:
        """Return a decorator for a view, which gets the caller and the fields and returns what to answer.

        Args:
            path: Below ``/api/v1``.
            schema: Its fields.
            limit: How often it may be called; left out, the limit of all other calls.
            trades: Whether it takes a session at the broker, in live mode.
        """
        return self._add("POST", path, schema, limit, read_object, trades=trades)

    def get(self, path: str, schema: type[Call]) -> Callable[[View], View]:
        """Return a decorator for a view whose fields are in the query."""
        return self._add("GET", path, schema, None, lambda: dict(request.args))

    def _add(  # noqa: PLR0913  # what a call consists of
        self,
        method: str,
        path: str,
        schema: type[Call],
        limit: RateLimit | None,
        read: Callable[[], Fields],
        *,
        trades: bool = False,
    ) -> Callable[[View], View]:
        fields, within = schema(), limit or self._host.limits.calls

        def add(view: View) -> View:
            def answer() -> Response | tuple[Response, int]:
                try:
                    call: Fields = fields.load(read())
                except ValidationError as error:
                    raise RefusedCallError(400, error.messages_dict) from None
                caller = self._host.api_keys.caller(call.pop("apikey"))
                if caller is None:
                    raise RefusedCallError(403, "Invalid openalgo apikey")
                if not within.admits(caller.user_id):
                    raise RefusedCallError(429, f"Rate limit exceeded: {within}")
                if trades:
                    require_broker(self._host, caller.user_id)
                return jsonify({"status": "success", **view(caller, call)})

            self._blueprint.add_url_rule(
                path, path.strip("/").replace("/", "_"), answer, methods=[method], strict_slashes=False
            )
            return view

        return add


def answer_errors(blueprint: Blueprint) -> None:
    """Let a blueprint answer what it refuses as OpenAlgo does."""
    blueprint.register_error_handler(RefusedCallError, lambda error: _error(error.status, error.message))
    blueprint.register_error_handler(RefusedOrderError, lambda error: _error(400, str(error)))
    blueprint.register_error_handler(FencedOffError, lambda error: _error(403, str(error)))


def require_broker(host: Host, user_id: int) -> None:
    """Make sure that a user may trade: in live mode that takes a session at the broker.

    Raises:
        RefusedCallError: There is none today.
    """
    if not host.modes.analyses() and host.broker.tokens(user_id) is None:
        raise RefusedCallError(403, "No session at the broker: log in to your broker first, or turn analyze mode on")


def _error(status: int, message: str | dict[str, Any]) -> tuple[Response, int]:
    return jsonify(status="error", message=message), status


def read_object() -> Fields:
    """Return the request's body, a JSON object.

    Raises:
        RefusedCallError: It is none.
    """
    if not request.is_json:
        raise RefusedCallError(400, "The body must be JSON, and Content-Type must say application/json")
    try:
        body = json.loads(request.get_data().decode("utf-8"))
    except (ValueError, RecursionError):
        raise RefusedCallError(400, "The body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise RefusedCallError(400, "The body must be a JSON object")
    return body

"""``/events``: tells an open page what has changed, as server-sent events.

The events carry names only; the page then asks for the part of it that is about them. A stream begins by naming
everything, so nothing is missed that changed before it began, or between two streams.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from openalgo_host.pages import members
from openalgo_host.pages.account import account_at_a_look
from openalgo_host.watch import CrowdedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openalgo_host.host import Host
    from openalgo_host.watch import Watcher

_LASTS: Final = 45.0
"""Seconds after which a stream ends, and the browser begins another one: its thread is for others, too."""
_PULSE: Final = 1.0
"""Seconds after which something is sent in any case: only so it shows that nobody listens any more."""
_UNSURE: Final = 8.0
"""Seconds for which a stream goes on in silence where it cannot be told who is logged in: as long as a page waits."""
_RETRY: Final = 1
"""Seconds after which a browser begins another stream."""
_CROWDED: Final = 10
"""Seconds after which it may try again where there was no place."""


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of ``/events``."""
    blueprint = members.make_blueprint("events", host, parts=("stream",))

    @blueprint.get("/events")
    def stream() -> Response:
        try:
            watcher = host.watch.join(members.account().id)
        except CrowdedError:  # the page asks now and then instead
            return Response("", 503, {"Retry-After": str(_CROWDED)})
        account, look = members.account(), account_at_a_look(host.sessions, host.users)
        parts = _events(host.watch.topics, watcher, lambda: look() == account)
        response = Response(parts, mimetype="text/event-stream")
        response.call_on_close(watcher.leave)
        response.headers["X-Accel-Buffering"] = "no"  # nginx would keep the events until it has many
        return response

    return blueprint


def _events(topics: list[str], watcher: Watcher, is_logged_in: Callable[[], bool]) -> Iterator[str]:
    sure_at = monotonic()
    ends, news = sure_at + _LASTS, list[str]()
    yield f"retry: {_RETRY * 1000}\n{_event(topics)}"
    while monotonic() < min(ends, sure_at + _UNSURE):
        news += watcher.wait(_PULSE)
        if watcher.ended:
            return
        try:
            if not is_logged_in():
                yield "event: logout\ndata:\n\n"
                return
        except (HTTPException, SQLAlchemyError):  # if that lasts, the page asks again, and is told so
            yield ":\n\n"
            continue
        yield _event(news) if news else ":\n\n"
        sure_at, news = monotonic(), []


def _event(topics: list[str]) -> str:
    return f"data: {' '.join(topics)}\n\n"

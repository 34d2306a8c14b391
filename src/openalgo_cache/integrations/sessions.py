"""Flask sessions that live in a cache: sealed in the store, and only a random number in the cookie.

    from flask import Flask
    from openalgo_cache.integrations.sessions import CacheSessions

    app = Flask(__name__)
    CacheSessions(app)

A session is one record of the cache ``session``: encrypted, under a keyed hash of the number in the cookie. So neither
the store nor a copy of it leads to a session that can be used, and a planted record is not believed. The record is read
when the session is first asked for anything, and exists only once something was put in: visitors who never logged in
have none.

Requests that run at once each write the fields that they changed into whatever the others left there. If two of
them changed the same field in different ways, the later one is refused (409), except for lists that both appended to.
A session that was ended meanwhile stays ended.
"""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import flask
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from openalgo_cache.backends import registry
from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.errors import BackendUnavailableError, ConfigurationError
from openalgo_cache.expiry import Lifetime, earliest, expires_at, until
from openalgo_cache.integrations.cached_session import CachedSession, Record
from openalgo_cache.integrations.merge import Fields, SessionConflict, changed
from openalgo_cache.integrations.patience import Patience
from openalgo_cache.keys import Keyspace
from openalgo_cache.process import default_manager
from openalgo_cache.settings.server import SESSION
from openalgo_cache.stack import prefix_of
from openalgo_cache.steps import Found, Keep, Put, Remove

if TYPE_CHECKING:
    from flask import Flask, Request, Response

    from openalgo_cache.cache import Cache
    from openalgo_cache.manager import CacheManager
    from openalgo_cache.settings import Settings

_log = logging.getLogger("openalgo_cache")

_MOST_SESSIONS: Final = 100_000
_Reader = Callable[[Callable[[], Record | None]], Record | None]
"""Returns what reading a record returns, at once or after a while."""
_is_id = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch
_GONE_WITH_THE_BODY: Final = (
    "Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Range", "ETag",
    "Last-Modified", "Location", "Set-Cookie",
)  # fmt: skip


class SessionStoreUnavailable(ServiceUnavailable):
    """The store of the sessions does not answer. Not the same as being logged out, so it must not look like that."""

    description = "Sessions cannot be read or kept at the moment. You are still logged in: try again shortly."


class CacheSessions(SessionInterface):
    """Keeps the sessions of a Flask application in the cache ``session``.

    A session ends when it was not used for PERMANENT_SESSION_LIFETIME (of Flask's configuration), at
    SESSION_EXPIRY_TIME (of the cache's settings), or when the application empties it. The cookie is HttpOnly,
    SameSite=Lax unless SESSION_COOKIE_SAMESITE says otherwise, and Secure over TLS; of Flask's other options for
    cookies the name, domain, path and partitioning are honoured. No SECRET_KEY is needed.

    When the store fails, a request that uses its session is answered with 503: the visitor is not logged out, and does
    not seem to be. With ``patience`` it waits first: a server that is restarted costs visitors seconds, and no error.

    Args:
        app: The application; left out, call :meth:`init_app` later.
        manager: Where the cache comes from; left out, the manager that ``get_cache`` uses.
        clock: Where the time comes from; the manager's own.
        patience: Seconds for which a request waits for a store that does not answer.
        waiting: How many requests of this process wait at once. Each holds a thread of the server.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        manager: CacheManager | None = None,
        clock: Clock = system_clock,
        patience: float = 0.0,
        waiting: int = 8,
    ) -> None:
        self._manager = manager
        self._now = clock
        self._patience = Patience(patience, waiting)
        self._cache: Cache | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make ``app`` keep its sessions here.

        Raises:
            ConfigurationError: SESSION_KEY_PREFIX, in the application's configuration, is not what keys begin with.
        """
        if (asked := app.config.get("SESSION_KEY_PREFIX")) is not None:
            _check_prefix(asked, (self._manager or default_manager()).settings)
        app.session_interface = self

    @property
    def cache(self) -> Cache:
        """The cache that holds the sessions; opened when it is first used.

        Raises:
            ConfigurationError: SESSION_TYPE asks for a backend that is not there.
        """
        if self._cache is None:
            manager = self._manager or default_manager()
            self._cache = manager.get_cache(
                SESSION,
                ttl=until(manager.settings.session_expiry_time),
                maxsize=_MOST_SESSIONS,
                encrypted=True,
                blinded=True,
                backend=_backend_of(manager.settings.session_type),
                on_error="raise",
            )
        return self._cache

    # --- what Flask calls --------------------------------------------------------------------------------------------

    def open_session(self, app: Flask, request: Request) -> CachedSession:
        """Return the visitor's session, not read yet."""
        return self._open(app, request, self._patience.read)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store what the request changed, and give the visitor the cookie that leads to it."""
        if not isinstance(session, CachedSession):
            raise TypeError(f"this application's sessions are CachedSession, not {type(session).__name__}")
        if session.accessed or session.is_loaded:
            response.vary.add("Cookie")
        if not session.is_loaded and not session.renewed:
            return
        try:
            self._save(app, session, response)
        except BackendUnavailableError as error:
            _log.warning("a session could not be stored: %s", error)
            _replace(response, app, SessionStoreUnavailable())
        except SessionConflict as conflict:
            _replace(response, app, conflict)

    def look(self, app: Flask, request: Request) -> CachedSession:
        """Return the visitor's session for a look at it: it is read without patience, and nothing of it is stored."""
        return self._open(app, request, lambda read: read())

    # --- the record --------------------------------------------------------------------------------------------------

    def _open(self, app: Flask, request: Request, reader: _Reader) -> CachedSession:
        given = request.cookies.get(self.get_cookie_name(app), "")
        return CachedSession(given if _is_id(given) else None, partial(self._fetch, reader))

    def _fetch(self, reader: _Reader, identity: str) -> Record | None:
        try:
            record = reader(lambda: self.cache.get(identity))
        except BackendUnavailableError as error:
            _log.warning("a session could not be read: %s", error)
            raise SessionStoreUnavailable from error
        return record

    def _save(self, app: Flask, session: CachedSession, response: Response) -> None:
        fields = session.fields()
        if session.identity is None:
            self._start(app, session, fields, response)
        elif not fields:
            self.cache.delete(session.identity)
            self._drop_cookie(app, response)
        elif session.renewed:
            left = self._exchange(session.identity, lambda there: Remove(session.merged(there, fields)))
            self._start(app, session, changed(session.before, fields) if left is None else left, response)
        elif session.cleared or fields != session.before:
            self._put(app, session, response, lambda there: session.merged(there, fields))
        elif self._is_worth_prolonging(app, session):
            self._put(app, session, response, lambda there: there)

    def _start(self, app: Flask, session: CachedSession, fields: Fields, response: Response) -> None:
        """Store a session under a new number, which nobody else has ever seen; an empty one is none."""
        if fields:
            identity = secrets.token_urlsafe(32)
            self.cache.set(identity, self._record(fields), self._lifetime(app))
            self._set_cookie(app, session, identity, response)

    def _put(self, app: Flask, session: CachedSession, response: Response, change: Callable[[Fields], Fields]) -> None:
        """Store a session anew, for a whole lifetime from now on, unless it was ended meanwhile."""
        identity, expires = session.identity or "", self._expires_at(app, self._now())
        kept = self._exchange(identity, lambda there: Put(self._record(change(there)), expires, result=True))
        if kept and session.permanent:
            self._set_cookie(app, session, identity, response)

    def _exchange(self, identity: str, decide: Callable[[Fields], Put | Remove]) -> Any:
        """Take one atomic step on a record; return what it results in, or None if the session was ended meanwhile."""

        def step(found: Found | None) -> Keep | Put | Remove:
            return Keep(None) if found is None else decide(found.value["fields"])

        return self.cache._exchange(identity, step, None)  # noqa: SLF001  # the verbs that stand on it don't merge

    def _is_worth_prolonging(self, app: Flask, session: CachedSession) -> bool:
        """Return whether storing it anew gains a tenth of the idle time: so not at every request."""
        ends, would_end = self._expires_at(app, session.written_at), self._expires_at(app, self._now())
        return would_end - ends >= app.permanent_session_lifetime.total_seconds() / 10

    def _record(self, fields: Fields) -> Record:
        return {"at": self._now(), "fields": dict(fields)}

    def _lifetime(self, app: Flask) -> Lifetime:
        return earliest(app.permanent_session_lifetime, self.cache.policy.lifetime)

    def _expires_at(self, app: Flask, written_at: float) -> float:
        return expires_at(self._lifetime(app), written_at) or math.inf

    # --- the cookie --------------------------------------------------------------------------------------------------

    def _set_cookie(self, app: Flask, session: CachedSession, identity: str, response: Response) -> None:
        end = datetime.fromtimestamp(self._expires_at(app, self._now()), UTC) if session.permanent else None
        response.set_cookie(self.get_cookie_name(app), identity, expires=end, **self._cookie_options(app))

    def _drop_cookie(self, app: Flask, response: Response) -> None:
        # Only the request that ends a session does this: another one's answer may overtake the cookie of a new login.
        response.delete_cookie(self.get_cookie_name(app), **self._cookie_options(app))

    def _cookie_options(self, app: Flask) -> dict[str, Any]:
        return {
            "httponly": True,
            "secure": self.get_cookie_secure(app) or flask.request.is_secure,
            "samesite": self.get_cookie_samesite(app) or "Lax",
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "partitioned": self.get_cookie_partitioned(app),
        }


def renew_session() -> None:
    """Let the present session go on under a new number; call it whenever a user logs in or gains rights.

    A number that somebody learnt, or planted, before the login is then worth nothing (session fixation).

    Raises:
        RuntimeError: The application's sessions are not those of this module.
    """
    session = flask.session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # a proxy's public method
    if not isinstance(session, CachedSession):
        raise RuntimeError("renew_session() needs CacheSessions(app)")  # noqa: TRY004  # nothing was passed
    session.renew()


def _check_prefix(asked: object, settings: Settings) -> None:
    kept = Keyspace(prefix_of(settings.session_type, settings), SESSION, settings.cache_namespace).prefix
    if asked != kept:
        raise ConfigurationError(
            f"SESSION_KEY_PREFIX={asked!r:.80}, but the keys of sessions begin with {kept!r}: leave it out, or set "
            "REDIS_KEY_PREFIX and CACHE_NAMESPACE, which make what is before 'session:'"
        )


def _backend_of(session_type: str) -> str:
    backend = "sqlite" if session_type == "filesystem" else session_type
    if backend not in registry.available():
        raise ConfigurationError(
            f"SESSION_TYPE={session_type} asks for a backend that is not installed: pip install "
            f'"openalgo-cache[{session_type}]", or set it to filesystem: sessions are then kept in SQLite.'
        )
    return backend


def _replace(response: Response, app: Flask, error: HTTPException) -> None:
    """Turn an answer that must not go out into the application's own page for ``error``."""
    page = app.make_response(app.handle_user_exception(error))
    response.direct_passthrough = False
    response.status = page.status
    response.set_data(page.get_data())
    response.content_type = page.content_type
    for name in _GONE_WITH_THE_BODY:
        response.headers.pop(name, None)
    response.headers["Cache-Control"] = "no-store"

"""Who may see how the host is: whoever is logged in, and programs that bring the token."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from openalgo_host.pages.account import account_at_a_look

if TYPE_CHECKING:
    from openalgo_cache.integrations.sessions import CacheSessions
    from openalgo_host.users import Users


class Admission:
    """Admits whoever is logged in, and what brings the token as ``Authorization: Bearer``.

    A wrong token costs a hash and is not counted: with 32 random characters there is nothing to try, and nobody can
    lock the one who has the right one out. A session is only looked at: nobody waits for its store, and to watch how
    the host is does not count as use.

    Args:
        sessions: Who is logged in.
        users: Who may log in.
        token: DIAGNOSTICS_TOKEN; empty for none.
    """

    def __init__(self, sessions: CacheSessions, users: Users, token: str) -> None:
        self._sessions = sessions
        self._users = users
        self._digest = _digest(token) if token else None

    def admits(self, request: Request) -> bool:
        """Return whether a request may see.

        Raises:
            ServiceUnavailable: It cannot be told who is logged in.
            SQLAlchemyError: Likewise.
        """
        return self._has_token(request) or account_at_a_look(self._sessions, self._users)() is not None

    def require(self, request: Request) -> None:
        """Refuse a request that may not see.

        Raises:
            Unauthorized: It brings neither the token nor a login.
        """
        if not self.admits(request):
            raise Unauthorized(
                "Log in, or send the token (DIAGNOSTICS_TOKEN) as Authorization: Bearer.",
                www_authenticate=WWWAuthenticate("bearer", {"realm": "diagnostics"}),
            )

    def _has_token(self, request: Request) -> bool:
        given = request.authorization
        if self._digest is None or given is None or given.type != "bearer" or given.token is None:
            return False
        return hmac.compare_digest(_digest(given.token), self._digest)


def _digest(token: str) -> bytes:
    """Return what tokens are compared by, so that not even the length shows in how long it takes."""
    return hashlib.sha256(token.encode()).digest()

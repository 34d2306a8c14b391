"""Tokens in forms: proof that a form came from a page of this host."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final

from flask import Request, Response

COOKIE: Final = "openalgo_form"
_is_nonce = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch


def make_token() -> str:
    """Return a token to keep in the session, for the forms of a user who is logged in."""
    return secrets.token_urlsafe(32)


def matches(expected: str, given: str) -> bool:
    """Return whether two tokens are the same; how long it takes does not tell where they differ."""
    return bool(expected) and hmac.compare_digest(expected.encode(), given.encode())


class AnonymousForms:
    """Tokens for visitors without a session: a random number in a cookie, and a keyed hash of it in the form.

    Another site can neither read the one nor make the other.

    Args:
        secret: The key of the hash, the same for all instances.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, request: Request) -> tuple[str, str]:
        """Return the number for the cookie (the visitor's own, if there is one) and the token for the form."""
        given = request.cookies.get(COOKIE, "")
        nonce = given if _is_nonce(given) else secrets.token_urlsafe(32)
        return nonce, self._hash(nonce)

    def keep(self, response: Response, nonce: str, *, path: str, secure: bool) -> None:
        """Give the visitor the cookie."""
        response.set_cookie(COOKIE, nonce, path=path, httponly=True, samesite="Strict", secure=secure)

    def is_genuine(self, request: Request, token: str) -> bool:
        """Return whether a form's token belongs to the visitor's cookie."""
        nonce = request.cookies.get(COOKIE, "")
        return _is_nonce(nonce) is not None and matches(self._hash(nonce), token)

    def _hash(self, nonce: str) -> str:
        return hmac.new(self._secret, nonce.encode(), hashlib.sha256).hexdigest()

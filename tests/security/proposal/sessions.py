"""Sessions beside the caches: "Session Management for Multi-Instance", with what Flask-Session 0.8 does behind it."""

from __future__ import annotations

import pickle
import secrets
from typing import Any

import ormsgpack
import redis
from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin
from itsdangerous import BadSignature, Signer
from werkzeug.datastructures import CallbackDict


class ServerSideSession(CallbackDict[str, Any], SessionMixin):
    """A session, and the number it is stored under."""

    def __init__(self, initial: Any, sid: str) -> None:
        super().__init__(initial)
        self.sid = sid


class RedisSessions(SessionInterface):
    """SESSION_TYPE=redis with SESSION_USE_SIGNER and the proposal's prefix."""

    prefix = "openalgo:session:"

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def open_session(self, app: Flask, request: Request) -> ServerSideSession:
        try:
            sid = self._signer(app).unsign(request.cookies.get("session", "")).decode()
        except BadSignature:
            return ServerSideSession({}, secrets.token_urlsafe(32))
        stored: Any = self._client.get(self.prefix + sid)
        return ServerSideSession({} if stored is None else self._decoded(stored), sid)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        assert isinstance(session, ServerSideSession)
        if session:
            self._client.set(self.prefix + session.sid, ormsgpack.packb(dict(session)), ex=86400)
            response.set_cookie("session", self._signer(app).sign(session.sid).decode(), httponly=True)

    def _decoded(self, stored: bytes) -> Any:
        try:
            found = dict(ormsgpack.unpackb(stored))
        except (ValueError, TypeError):
            found = {}
        if ormsgpack.packb(found) == stored:
            return found
        return pickle.loads(stored) or {}  # it believes that an older version wrote it

    def _signer(self, app: Flask) -> Signer:
        assert app.secret_key is not None
        return Signer(app.secret_key, salt="flask-session")

"""The administrator's account: made at the first start, with credentials that are shown once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from openalgo_host.users import User

if TYPE_CHECKING:
    from openalgo_host.host import Host

NAME: Final = "admin"

Show = Callable[[str], None]
"""Shows a text to the person who starts the host, and to no log."""


def ensure_administrator(host: Host, show: Show) -> bool:
    """Create the administrator if there is no user yet, and show the credentials; return whether that was needed."""
    try:
        with host.database.writing() as session:
            if not host.users.is_empty(session):
                return False
            now, password, api_key = host.clock(), *_credentials()
            user = User(name=NAME, created_at=now)
            host.users.set_password(user, password)
            session.add(user)
            session.flush()
            host.api_keys.add(session, user.id, api_key, now)
            session.flush()
            # Before the commit: killed in between, the next start makes new ones. After it, they might be lost.
            show(_lines(NAME, password, api_key))
    except IntegrityError:  # on a server: another instance has created the administrator in the same moment
        return False
    return True


def renew_credentials(host: Host, show: Show) -> None:
    """Give the administrator a new password and API key, and show them; the old ones, and the sessions, end."""
    with host.database.writing() as session:
        user = session.scalars(select(User).order_by(User.id).limit(1)).one()
        password, api_key = _credentials()
        host.users.set_password(user, password)
        ended = host.api_keys.remove(session, user.id)
        host.api_keys.add(session, user.id, api_key, host.clock())
        session.flush()
        show(_lines(user.name, password, api_key))
    with ExitStack() as each:  # of the two, although the other one fails
        each.callback(host.api_keys.forget, ended)
        each.callback(host.users.forget, user.id)


def _credentials() -> tuple[str, str]:
    return secrets.token_urlsafe(12), secrets.token_hex(32)


def _lines(name: str, password: str, api_key: str) -> str:
    return f"User: {name}\nPassword: {password}\nAPI key: {api_key}"

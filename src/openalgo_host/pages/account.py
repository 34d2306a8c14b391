"""Who is logged in, as the session knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import current_app, request, session

from openalgo_cache.integrations.sessions import CacheSessions, renew_session
from openalgo_host import csrf

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.sessions import SessionMixin

    from openalgo_host.users import Account, Users

_USER: Final = "user"
_STAMP: Final = "stamp"
_FORM_TOKEN: Final = "form_token"  # noqa: S105  # the field's name


def sign_in(account: Account) -> None:
    """Begin a session for an account, under a new number, with nothing of what was before."""
    session.clear()
    renew_session()
    session[_USER], session[_STAMP] = account.id, account.stamp
    session[_FORM_TOKEN] = csrf.make_token()


def sign_out() -> None:
    """End the session."""
    session.clear()


def current_account(users: Users) -> Account | None:
    """Return the account that is logged in. A session from before a change of the password ends here."""
    account = _account_in(session, users)
    if account is None and _USER in session:
        sign_out()
    return account


def account_at_a_look(sessions: CacheSessions, users: Users) -> Callable[[], Account | None]:
    """Return what tells whose this request's session is now: read anew, at once, and without a trace.

    That raises SessionStoreUnavailable or SQLAlchemyError if it cannot be told.
    """
    app, asked = current_app._get_current_object(), request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # a proxy's public method
    return lambda: _account_in(sessions.look(app, asked), users)


def form_token() -> str:
    """Return the token for forms of the user who is logged in."""
    return str(session.get(_FORM_TOKEN, ""))


def _account_in(there: SessionMixin, users: Users) -> Account | None:
    number = there.get(_USER)
    account = None if number is None else users.find(number)
    return account if account is not None and account.stamp == there.get(_STAMP) else None

"""Who is logged in, as the session knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import session

from openalgo_cache.integrations.sessions import renew_session
from openalgo_host import csrf

if TYPE_CHECKING:
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
    number = session.get(_USER)
    if number is None:
        return None
    account = users.find(number)
    if account is None or account.stamp != session.get(_STAMP):
        sign_out()
        return None
    return account


def form_token() -> str:
    """Return the token for forms of the user who is logged in."""
    return str(session.get(_FORM_TOKEN, ""))

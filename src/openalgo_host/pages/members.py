"""What all pages for users who are logged in have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, g, make_response, redirect, request, url_for

from openalgo_host import csrf
from openalgo_host.pages.account import current_account, form_token

if TYPE_CHECKING:
    from collections.abc import Collection

    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host
    from openalgo_host.users import Account


def account() -> Account:
    """Return the account that is logged in, on such a page."""
    found: Account = g.account
    return found


def make_blueprint(name: str, host: Host, parts: Collection[str] = ()) -> Blueprint:
    """Make a blueprint whose pages need a login, and whose forms the token of the session.

    Who is not logged in is led to the login, and back to the page afterwards.

    Args:
        name: Of the blueprint; its page ``index`` is where a form leads that was sent without a login.
        host: Whose users log in.
        parts: Functions that answer a script: 401, upon which it loads the page again, and that leads to the login.
    """
    blueprint = Blueprint(name, __name__)
    endpoints = {f"{name}.{part}" for part in parts}

    @blueprint.before_request
    def require_login() -> AnyResponse | None:
        found = g.account = current_account(host.users)
        if found is None:
            if request.endpoint in endpoints:
                return make_response("", 401)
            onward = request.full_path.rstrip("?") if request.method == "GET" else url_for(f"{name}.index")
            return redirect(url_for("login.form", next=onward if onward != "/" else None))
        if request.method == "POST" and not csrf.matches(form_token(), request.form.get("token", "")):
            abort(400, "This form is not from a page of your session. Go back, reload the page and try again.")
        return None

    @blueprint.context_processor
    def for_every_page() -> dict[str, Any]:
        return {"account": g.get("account"), "form_token": form_token, "analyses": host.modes.analyses}

    return blueprint

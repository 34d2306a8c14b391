"""Logging in and out."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest

from openalgo_host import csrf
from openalgo_host.pages.account import current_account, form_token, sign_in, sign_out
from openalgo_host.users import LONGEST_NAME

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host

_ATTEMPTS: Final = 10
"""From one address, within five minutes."""


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of ``/login`` and ``/logout``."""
    blueprint = Blueprint("login", __name__)
    forms = csrf.AnonymousForms(host.manager.ring().subkey("openalgo-host forms", b""))

    def page(status: int, problem: str = "", name: str = "") -> Response:
        nonce, token = forms.token(request)
        onward = _local(request.values.get("next", ""))
        body = render_template(
            "login.html", problem=problem, name=name, token=token, onward=onward, longest_name=LONGEST_NAME
        )
        response = make_response(body, status)
        forms.keep(response, nonce, path=url_for("login.form"), secure=request.is_secure)
        return response

    @blueprint.get("/login")
    def form() -> AnyResponse:
        if current_account(host.users) is not None:
            return redirect(url_for("symbols.index"))
        return page(200)

    @blueprint.post("/login")
    def log_in() -> AnyResponse:
        name, password = request.form.get("name", "").strip(), request.form.get("password", "")
        if not forms.is_genuine(request, request.form.get("token", "")):
            return page(400, "This form was open for too long, or your browser keeps no cookies. Try again.", name)
        address = _network(request.remote_addr or "")
        if host.login_attempts.count(address) > _ATTEMPTS:
            refusal = page(429, "Too many attempts. Try again in a few minutes.", name)
            refusal.headers["Retry-After"] = str(host.login_attempts.seconds_left(address))
            return refusal
        account = host.users.authenticate(name, password)
        if account is None:
            return page(403, "Name or password is wrong.", name)
        host.login_attempts.forget(address)
        sign_in(account)
        return redirect(_local(request.form.get("next", "")) or url_for("symbols.index"), 303)

    @blueprint.post("/logout")
    def log_out() -> AnyResponse:
        account = current_account(host.users)
        if account is not None:
            if not csrf.matches(form_token(), request.form.get("token", "")):
                raise BadRequest(
                    "This form is not from a page of your session. Go back, reload the page and try again."
                )
            sign_out()
        return redirect(url_for("login.form"), 303)

    return blueprint


def _local(path: str) -> str:
    """Return a path on this host as it is; empty for everything that leads elsewhere."""
    if not path.startswith("/") or path.startswith("//") or not path.isprintable() or "\\" in path:
        return ""
    parts = urlsplit(path)
    return "" if parts.scheme or parts.netloc else path


def _network(address: str) -> str:
    """Return what stands for one visitor: an address, or the network of 64 bits that an IPv6 customer has.

    A server that listens on ``::`` has the addresses of IPv4 in one network of those.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))

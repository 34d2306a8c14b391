"""Settings: password, API key, mode, broker, Telegram, and what is known of the symbol master."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from openalgo_host.pages import members
from openalgo_host.pages.account import sign_in
from openalgo_host.telegram import ALERTS, Preferences, RefusedPreferencesError
from openalgo_host.vault import VaultError

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict
    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host

_SHORTEST: Final = 10
_LONGEST: Final = 1000
_ATTEMPTS: Final = 10
"""At the present password, within five minutes."""


def make_blueprint(host: Host) -> Blueprint:  # noqa: C901  # a list of pages
    """Make the blueprint of ``/settings``."""
    blueprint = members.make_blueprint("settings", host)

    def page(status: int = 200, api_key: str = "", **problems: str) -> Response:
        body = render_template(
            "settings.html",
            api_key=api_key,
            problems=problems,
            broker=host.broker.name_for(members.account().id),
            telegram=host.telegram.get(members.account().id),
            alerts=ALERTS,
            symbols=host.symbols.stats(),
            master=host.master_status.latest(),
            shortest=_SHORTEST,
        )
        return make_response(body, status)

    @blueprint.get("/settings")
    def index() -> Response:
        return page()

    @blueprint.post("/settings/password")
    def change_password() -> AnyResponse:
        account = members.account()
        present, new = request.form.get("present", ""), request.form.get("new", "")
        if problem := _problem_with(new, request.form.get("again", "")):
            return page(422, new=problem)
        attempts = f"password of {account.id}"
        if host.login_attempts.count(attempts) > _ATTEMPTS:
            return page(429, present="Too many attempts. Try again in a few minutes.")
        if host.users.authenticate(account.name, present) is None:
            return page(422, present="This is not the present password.")
        host.login_attempts.forget(attempts)
        sign_in(host.users.change_password(account.id, new))
        flash("The password is changed. Other browsers are logged out.")
        return redirect(url_for("settings.index"), 303)

    @blueprint.post("/settings/api-key")
    def show_key() -> Response:
        try:
            key = host.api_keys.shown(members.account().id)
        except VaultError:
            return page(503, api_key_problem="This key was stored with another key ring: make a new one.")
        if key is None:
            return page(404, api_key_problem="There is no key: make one.")
        return page(api_key=key)

    @blueprint.get("/settings/api-key/renew")
    def ask_renew() -> str:
        return render_template("questions/renew_key.html")

    @blueprint.post("/settings/api-key/renew")
    def renew_key() -> Response:
        return page(api_key=host.api_keys.renew(members.account().id, host.clock()))

    @blueprint.get("/settings/mode")
    def ask_mode() -> str:
        return render_template("questions/mode.html")

    @blueprint.post("/settings/mode")
    def change_mode() -> AnyResponse:
        analyses = request.form.get("mode") != "live"
        host.modes.set_analyses(on=analyses)
        flash(f"The mode is {'analyze' if analyses else 'live'} now, for every instance.")
        return redirect(url_for("settings.index"), 303)

    @blueprint.post("/settings/broker")
    def connect() -> AnyResponse:
        host.broker.connect(members.account().id)
        flash("You are connected to the paper broker.")
        return redirect(url_for("settings.index") + "#broker", 303)

    @blueprint.get("/settings/broker/disconnect")
    def ask_disconnect() -> str:
        return render_template("questions/disconnect.html")

    @blueprint.post("/settings/broker/disconnect")
    def disconnect() -> AnyResponse:
        host.broker.revoke(members.account().id)
        flash("You are disconnected from the broker.")
        return redirect(url_for("settings.index") + "#broker", 303)

    @blueprint.post("/settings/telegram")
    def change_telegram() -> AnyResponse:
        try:
            host.telegram.set(members.account().id, _preferences(request.form))
        except RefusedPreferencesError as error:
            return page(422, telegram=f"{error}.")
        flash("Your preferences for Telegram are kept.")
        return redirect(url_for("settings.index") + "#telegram", 303)

    return blueprint


def _preferences(form: MultiDict[str, str]) -> Preferences:
    """Return what a form asks for."""
    chat = form.get("chat", "").strip()
    digits = chat.removeprefix("-")
    if chat and not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise RefusedPreferencesError("The chat's number is a whole number")
    name = form.get("username", "").strip().removeprefix("@")
    return Preferences("enabled" in form, tuple(form.getlist("alerts")), int(chat) if chat else None, name)


def _problem_with(new: str, again: str) -> str:
    """Return what is wrong with a new password; empty if nothing is."""
    if len(new) < _SHORTEST:
        return f"Too short: take {_SHORTEST} characters at least."
    if len(new) > _LONGEST:
        return f"Too long: take {_LONGEST} characters at most."
    return "" if new == again else "The two are not the same."

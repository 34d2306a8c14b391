"""Webhooks of a user's strategies: add, see and renew the address, switch on and off, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app, flash, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound

from openalgo_host.pages import members
from openalgo_host.sandbox.ticket import ACTIONS, PRODUCTS
from openalgo_host.vault import VaultError
from openalgo_host.webhooks import LONGEST_NAME, Order, RefusedWebhookError, UnknownWebhookError

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host
    from openalgo_host.webhooks import Webhook


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of ``/webhooks``."""
    blueprint = members.make_blueprint("webhooks", host)
    blueprint.register_error_handler(
        UnknownWebhookError, lambda error: current_app.handle_user_exception(NotFound(f"{error}."))
    )
    webhooks = host.webhooks

    def page(status: int = 200, problem: str = "", shown: int = 0, address: str = "") -> Response:
        body = render_template(
            "webhooks.html",
            webhooks=webhooks.list(members.account().id),
            problem=problem,
            shown=shown,
            address=address,
            given=request.form,
            actions=ACTIONS,
            products=PRODUCTS,
            exchanges=sorted(host.symbols.stats().get("exchanges", {})),
            longest_name=LONGEST_NAME,
        )
        return make_response(body, status)

    @blueprint.get("/webhooks")
    def index() -> Response:
        return page()

    @blueprint.post("/webhooks")
    def add() -> AnyResponse:
        try:
            order = Order(
                symbol=request.form.get("symbol", "").strip(),
                exchange=request.form.get("exchange", "").strip(),
                product=request.form.get("product", ""),
                quantity=_quantity(request.form.get("quantity", "")),
                actions=tuple(request.form.getlist("actions")),
            )
            added = webhooks.add(members.account().id, request.form.get("name", "").strip(), order)
        except RefusedWebhookError as error:
            return page(422, problem=f"{error}.")
        flash(f"{added.name} has a webhook now: show its address, and give that to whoever sends the messages.")
        return redirect(url_for("webhooks.index"), 303)

    @blueprint.post("/webhooks/<row:number>/address")
    def show(number: int) -> Response:
        try:
            token = webhooks.token(members.account().id, number)
        except VaultError:
            return page(
                503, problem="This address was stored with another key ring: remove the webhook, and add it anew."
            )
        return page(shown=number, address=url_for("webhook.take", token=token, _external=True))

    @blueprint.get("/webhooks/<row:number>/renew")
    def ask_renew(number: int) -> str:
        return render_template("questions/renew_webhook.html", webhook=_own(host, number))

    @blueprint.post("/webhooks/<row:number>/renew")
    def renew(number: int) -> AnyResponse:
        webhooks.renew_token(members.account().id, number)
        flash(f"{_own(host, number).name} has another address: show it, and give that to whoever sends the messages.")
        return redirect(url_for("webhooks.index"), 303)

    @blueprint.post("/webhooks/<row:number>/active")
    def set_active(number: int) -> AnyResponse:
        found = webhooks.set_active(members.account().id, number, on=request.form.get("on") == "yes")
        flash(f"{found.name} is switched {'on' if found.active else 'off'}.")
        return redirect(url_for("webhooks.index"), 303)

    @blueprint.get("/webhooks/<row:number>/remove")
    def ask_remove(number: int) -> str:
        return render_template("questions/remove_webhook.html", webhook=_own(host, number))

    @blueprint.post("/webhooks/<row:number>/remove")
    def remove(number: int) -> AnyResponse:
        name = _own(host, number).name
        webhooks.remove(members.account().id, number)
        flash(f"{name} is removed.")
        return redirect(url_for("webhooks.index"), 303)

    return blueprint


def _own(host: Host, number: int) -> Webhook:
    found = next((one for one in host.webhooks.list(members.account().id) if one.id == number), None)
    if found is None:
        raise UnknownWebhookError(f"Strategy {number} not found")
    return found


def _quantity(text: str) -> int:
    """Return how many each message orders; 0 if the messages say so."""
    given = text.strip()
    if not given:
        return 0
    if not (given.isascii() and given.isdecimal() and len(given) < 9 and int(given)):
        raise RefusedWebhookError("The quantity is a whole number, or left out")
    return int(given)

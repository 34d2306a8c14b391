"""Webhooks: a message from elsewhere becomes an order of the strategy whose token it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, jsonify
from marshmallow import ValidationError

from openalgo_host.api import schemas
from openalgo_host.api.calls import Fields, RefusedCallError, answer_errors, read_object, require_broker
from openalgo_host.api.trading import placed
from openalgo_host.caller import Caller
from openalgo_host.webhooks import ticket

if TYPE_CHECKING:
    from openalgo_host.host import Host
    from openalgo_host.sandbox.ticket import Ticket
    from openalgo_host.webhooks import Webhook

PREFIX: Final = "/strategy/webhook"


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of the webhooks. The token in the address is all that a sender has, and all that it takes."""
    blueprint = Blueprint("webhook", __name__)
    answer_errors(blueprint)
    schema = schemas.WebhookMessage()

    @blueprint.post("/<token>", strict_slashes=False)
    def take(token: str) -> Response:
        # First, and with one answer: who tries tokens learns nothing of strategies that were removed or switched off.
        webhook = host.webhooks.find(token)
        if webhook is None:
            raise RefusedCallError(404, "No active strategy has this webhook")
        if not host.limits.webhooks.admits(webhook.id):
            raise RefusedCallError(429, f"Rate limit exceeded: {host.limits.webhooks}")
        try:
            message: Fields = schema.load(read_object())
        except ValidationError as error:
            raise RefusedCallError(400, error.messages_dict) from None
        require_broker(host, webhook.user_id)
        key = message["idempotency_key"]
        order = host.orders.place(
            Caller(webhook.user_id),
            _ticket(webhook, message),
            None if key is None else f"webhook {webhook.id}/{key}",
        )
        return jsonify({"status": "success", **placed(order)})

    return blueprint


def _ticket(webhook: Webhook, message: Fields) -> Ticket:
    """Return what a message orders; what the strategy has settled, the message may say, and not change."""
    order = webhook.order
    for field in ("symbol", "exchange"):
        if message[field] not in {None, getattr(order, field)}:
            raise RefusedCallError(400, f"This strategy's {field} is {getattr(order, field)}")
    if message["action"] not in order.actions:
        raise RefusedCallError(400, f"This strategy does not {message['action']}")
    if order.quantity and message["quantity"] not in {None, order.quantity}:
        raise RefusedCallError(400, f"This strategy's quantity is {order.quantity}")
    quantity = order.quantity or message["quantity"]
    if quantity is None:
        raise RefusedCallError(400, {"quantity": ["Missing data for required field."]})
    return ticket(webhook.name, order, message["action"], quantity)

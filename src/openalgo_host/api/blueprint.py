"""The API as a blueprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from openalgo_host.api import account, analyzer, marketdata, options, strategies, trading
from openalgo_host.api.calls import Calls

if TYPE_CHECKING:
    from openalgo_host.host import Host


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of the API; every call carries its key."""
    blueprint = Blueprint("api", __name__)
    calls = Calls(host, blueprint)
    for part in (marketdata, options, trading, account, analyzer, strategies):
        part.add(calls, host)
    return blueprint

"""How this instance is: for people, and for balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import ServiceUnavailable

from openalgo_cache import CacheError
from openalgo_host.proxies import is_from_here

if TYPE_CHECKING:
    from openalgo_host.admission import Admission
    from openalgo_host.host import Host


def make_blueprint(host: Host, admission: Admission) -> Blueprint:
    """Make the blueprint of ``/health``, ``/livez`` and ``/readyz``. None of them writes, and none needs a login.

    A stranger learns the status, which balancers go by, and nothing else.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/health")
    def health() -> tuple[Response, int]:
        lost, degraded = _lost(host), _degraded(host)
        answer: dict[str, object] = {"status": "unhealthy" if lost else "degraded" if degraded else "healthy"}
        if _may_see_more(admission):
            if lost or degraded:
                answer["reason"] = lost or degraded
            answer["instance"] = host.settings.instance
            answer["cache_backend"] = host.manager.choice().backend
            answer["uptime"] = round(host.clock() - host.started_at, 3)
        return jsonify(answer), 503 if lost else 200

    @blueprint.get("/livez")
    def livez() -> Response:
        return jsonify(status="alive")

    @blueprint.get("/readyz")
    def readyz() -> tuple[Response, int]:
        is_ready = _lost(host) is None
        return jsonify(status="ready" if is_ready else "not ready"), 200 if is_ready else 503

    return blueprint


def _may_see_more(admission: Admission) -> bool:
    try:
        return is_from_here(request) or admission.admits(request)
    except (ServiceUnavailable, SQLAlchemyError):  # who cannot be told from a stranger is one
        return False


def _lost(host: Host) -> str | None:
    """Return what is lost without which nothing can be served."""
    try:
        host.database.check()
    except SQLAlchemyError:
        return "database"
    return None


def _degraded(host: Host) -> str | None:
    """Return what is lost without which some things can be served: a balancer must not remove the instance for it."""
    statuses = {host.sessions.cache.health(probe=True)["status"], host.manager.health(probe=True)["status"]}
    if statuses != {"healthy"}:
        return "cache" if "unavailable" in statuses else "deletes"
    try:
        return None if host.symbols.count() else "symbols"
    except CacheError:
        return "symbols"

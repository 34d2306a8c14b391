"""How the caches of this instance are: for people and dashboards, and for Prometheus."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from openalgo_cache import KeyRingError
from openalgo_cache.integrations.prometheus import WorkersCollector, register

if TYPE_CHECKING:
    from openalgo_host.admission import Admission
    from openalgo_host.host import Host

_FRESH: Final = 10.0
"""Seconds for which a size is good enough, so that asking often costs little."""

_COUNTS: Final = (
    "hits", "near_hits", "misses", "sets", "deletes", "evictions", "errors", "rejected", "stale", "denied",
)  # fmt: skip


def make_blueprint(host: Host, admission: Admission) -> Blueprint:
    """Make the blueprint of ``/diagnostics/cache-state`` and ``/metrics``, for whom ``admission`` lets in."""
    blueprint = Blueprint("diagnostics", __name__)
    registry = CollectorRegistry()
    register(host.manager, registry)
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):  # the workers of an instance add up what each of them counts
        WorkersCollector(registry)

    @blueprint.before_request
    def admit() -> None:
        admission.require(request)

    @blueprint.get("/diagnostics/cache-state")
    def cache_state() -> Response:
        return jsonify(_state(host))

    @blueprint.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return blueprint


def _state(host: Host) -> dict[str, Any]:
    """Return what the instance knows of its caches. It works, and says so, when their store is away."""
    choice, settings = host.manager.choice(), host.settings
    stats, health = host.manager.get_stats(size_max_age=_FRESH, open_unused=False), host.manager.health()
    caches = {name: _of_cache(figures) | _how(figures, health["caches"].get(name)) for name, figures in stats.items()}
    return {
        "status": health["status"],
        "reason": health["reason"],
        "backend": choice.backend,
        "backend_reason": choice.why,
        "caches": caches,
        "key_ring": _key_ring(host),
        "encryption": settings.cache_encryption_enabled,
        "multi_instance": settings.multi_instance_mode,
        "instance_id": settings.instance,
        "uptime": round(host.clock() - host.started_at, 3),
    }


def _of_cache(figures: dict[str, Any]) -> dict[str, Any]:
    rate, latency = figures.get("hit_rate"), figures.get("avg_latency_ms")
    return {
        "size": figures["size"],
        "hit_rate": None if rate is None else percent(rate),
        "avg_latency_ms": None if latency is None else round(latency, 3),
        "encrypted": figures["encrypted"],
        "memory_mb": round(figures["memory_bytes"] / 1_000_000, 3),
        "backend": figures["backend"],
        "durability": figures["durability"],
        "pending_deletes": figures["pending_deletes"],
        **{count: figures[count] for count in _COUNTS if count in figures},
    }


def _how(figures: dict[str, Any], health: Any) -> dict[str, Any]:
    """Return how a cache is; the symbol master says it among its figures."""
    if health is None:
        problem = figures.get("problem")
        return {"status": "healthy" if problem is None else "degraded", "reason": problem}
    return {key: health[key] for key in ("status", "reason", "last_error", "near")}


def _key_ring(host: Host) -> dict[str, Any] | None:
    """Return by what instances that share a key ring can tell that they do; None where there is none that works."""
    try:
        ring = host.manager.ring()
    except KeyRingError:
        return None
    return {"fingerprint": ring.fingerprint(), "active_key": ring.active.id, "keys": len(ring.keys)}


def percent(rate: float) -> str:
    """Return a rate as the proposal shows it, such as ``98.5%``; only what is 1 is ``100%``."""
    return f"{math.floor(1000 * rate + 1e-9) / 10:g}%"

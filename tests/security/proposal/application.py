"""The application around the caches: "Health Checks", and what stays in each instance's own process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from flask import Flask, jsonify, request

ATTEMPTS: Final = 10


def create_app(get_cache: Callable[[str], Any], check_database: Callable[[], Any]) -> Flask:
    """Make the application of one instance: its health, and a login that counts attempts as its limiter does."""
    app, started_at = Flask("proposal"), time.time()
    attempts: dict[str, int] = {}

    @app.get("/health")
    def health_check() -> Any:
        try:
            check_database()
        except Exception:
            return jsonify({"status": "unhealthy", "reason": "database"}), 503
        try:
            cache = get_cache("health")
            cache.set("health_check", time.time(), ttl=10)
            cache.get("health_check")
        except Exception:
            return jsonify({"status": "unhealthy", "reason": "cache"}), 503
        uptime = time.time() - started_at
        return jsonify({"status": "healthy", "instance": "1", "cache_backend": "redis", "uptime": uptime}), 200

    @app.post("/login")
    def log_in() -> Any:
        address = request.remote_addr or ""
        attempts[address] = attempts.get(address, 0) + 1
        if attempts[address] > ATTEMPTS:
            return "Too many attempts", 429
        return "Wrong password", 403

    return app

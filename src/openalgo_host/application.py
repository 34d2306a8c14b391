"""The Flask application, put together from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Flask

from openalgo_host import failures, headers, health
from openalgo_host.api import blueprint as api
from openalgo_host.pages import login, symbols

if TYPE_CHECKING:
    from openalgo_host.host import Host

LARGEST_BODY: Final = 64 * 1024
"""Bytes that a request may carry."""


def create_app(host: Host) -> Flask:
    """Make the application of a host."""
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        MAX_FORM_MEMORY_SIZE=LARGEST_BODY,
        SESSION_COOKIE_NAME="openalgo_session",
    )
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the provider that is there by default
    host.sessions.init_app(app)
    headers.install(app)
    failures.install(app)
    app.register_blueprint(health.make_blueprint(host))
    app.register_blueprint(login.make_blueprint(host))
    app.register_blueprint(symbols.make_blueprint(host))
    app.register_blueprint(api.make_blueprint(host), url_prefix="/api/v1")
    return app

"""The Flask application, put together from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask import Flask, request

from openalgo_host import diagnostics, failures, headers, health, proxies
from openalgo_host.admission import Admission
from openalgo_host.api import blueprint as api
from openalgo_host.api import webhook
from openalgo_host.options import Options
from openalgo_host.pages import events, formats, login, orders, rows, settings, strategies, symbols, webhooks

if TYPE_CHECKING:
    from openalgo_host.host import Host

LARGEST_BODY: Final = 64 * 1024
"""Bytes that a request may carry."""


class _Application(Flask):
    def log_exception(self, exc_info: Any) -> None:
        """Log what went wrong, with the rule in place of the path, in which the token of a webhook may stand."""
        self.logger.error("Exception on %s [%s]", request.url_rule, request.method, exc_info=exc_info)


def create_app(host: Host, options: Options | None = None) -> Flask:
    """Make the application of a host.

    Args:
        host: The host.
        options: Who may see the diagnostics, and which proxies are trusted; left out, the usual ones.
    """
    options = options or Options()
    app = _Application(__name__)
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
    formats.install(app)
    rows.install(app)
    proxies.trust(app, options.proxy_hops)
    admission = Admission(host.sessions, host.users, options.diagnostics_token)
    app.register_blueprint(health.make_blueprint(host, admission))
    app.register_blueprint(diagnostics.make_blueprint(host, admission))
    app.register_blueprint(login.make_blueprint(host))
    for pages in (symbols, orders, strategies, settings, webhooks, events):
        app.register_blueprint(pages.make_blueprint(host))
    app.register_blueprint(api.make_blueprint(host), url_prefix="/api/v1")
    app.register_blueprint(webhook.make_blueprint(host), url_prefix=webhook.PREFIX)
    return app

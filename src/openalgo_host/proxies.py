"""Where a request comes from: through which proxies, and whether from this machine."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Request
from werkzeug.middleware.proxy_fix import ProxyFix

_TRACES: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip")
"""What proxies add to a request."""


def trust(app: Flask, hops: int) -> None:
    """Let ``app`` believe the last proxies before it who asked, for which host, and whether over TLS.

    Args:
        app: The application.
        hops: PROXY_HOPS, how many of them there are. What further ones say is not believed: visitors can say it, too.
    """
    if hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]


def is_from_here(request: Request) -> bool:
    """Return whether somebody on this machine asks.

    What a proxy on this machine passes on comes from here, too, so its traces count against it. So does a name that is
    not this machine's: a page from elsewhere can make it lead here, in the browser of somebody who is here (DNS
    rebinding).
    """
    if any(trace in request.headers for trace in _TRACES):
        return False
    return _is_loopback(request.remote_addr or "") and _names_this_machine(request.headers.get("Host", ""))


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)

"""What the person who starts the host may choose, besides the settings of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from openalgo_host.errors import StartError
from openalgo_host.limits import USUAL, Rate, Rates

_HOST: Final = "127.0.0.1"
_PORT: Final = 5000
_RATES: Final = ("API_RATE_LIMIT", "ORDER_RATE_LIMIT", "SMART_ORDER_RATE_LIMIT", "WEBHOOK_RATE_LIMIT")
_NAMES: Final = (
    "HOST", "PORT", "OPENALGO_HOST_MASTER", "DATABASE_URL", "DIAGNOSTICS_TOKEN", "PROXY_HOPS", *_RATES
)  # fmt: skip

_SHORTEST_TOKEN: Final = 32
_HOPS: Final = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class Options:
    """The host's own variables.

    Attributes:
        host: HOST, the address to serve on.
        port: PORT, the port to serve on; 0 for any that is free.
        master: OPENALGO_HOST_MASTER, a master contract (CSV) to import at the first start in place of a generated one.
        rates: API_, ORDER_, SMART_ORDER_ and WEBHOOK_RATE_LIMIT, such as ``50 per second``.
        database_url: DATABASE_URL, where the application's own database is; empty for a SQLite file beside the caches.
        diagnostics_token: DIAGNOSTICS_TOKEN, with which programs see the diagnostics; empty for none.
        proxy_hops: PROXY_HOPS, how many proxies before the host are trusted.
    """

    host: str = _HOST
    port: int = _PORT
    master: Path | None = None
    rates: Rates = USUAL
    database_url: str = field(default="", repr=False)
    diagnostics_token: str = field(default="", repr=False)
    proxy_hops: int = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Options:
        """Read the variables; an empty one counts as not set.

        Raises:
            StartError: One of them cannot be used.
        """
        given = {name: environ.get(name, "").strip() for name in _NAMES}
        port = given["PORT"] or str(_PORT)
        if not (port.isascii() and port.isdecimal() and int(port) < 65536):
            raise StartError(f"PORT={port!r:.40} is not a port: give a number up to 65535, or 0 for any that is free.")
        master = Path(given["OPENALGO_HOST_MASTER"]).expanduser() if given["OPENALGO_HOST_MASTER"] else None
        if master is not None and not master.is_file():
            raise StartError(f"OPENALGO_HOST_MASTER names {master}, and there is no such file: correct the path.")
        rates = Rates(
            *(Rate.parse(name, given[name]) if given[name] else rate for name, rate in zip(_RATES, USUAL, strict=True))
        )
        return cls(
            host=given["HOST"] or _HOST,
            port=int(port),
            master=master,
            rates=rates,
            database_url=given["DATABASE_URL"],
            diagnostics_token=_token(given["DIAGNOSTICS_TOKEN"]),
            proxy_hops=_hops(given["PROXY_HOPS"]),
        )


def _token(text: str) -> str:
    """Return DIAGNOSTICS_TOKEN, if it can be sent and not be guessed."""
    if text and not (len(text) >= _SHORTEST_TOKEN and text.isascii() and text.isprintable() and " " not in text):
        raise StartError(
            f"DIAGNOSTICS_TOKEN must be at least {_SHORTEST_TOKEN} random letters, digits and signs, without spaces: "
            'take one from python -c "import secrets; print(secrets.token_urlsafe(32))".'
        )
    return text


def _hops(text: str) -> int:
    """Return PROXY_HOPS."""
    hops = text or "0"
    if hops not in _HOPS:
        raise StartError(
            f"PROXY_HOPS={hops!r:.40} is not how many trusted proxies stand before the host: give 0 for none, "
            f"1 for one nginx or HAProxy, {_HOPS[-1]} at most."
        )
    return int(hops)

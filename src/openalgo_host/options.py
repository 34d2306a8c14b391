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
_RATES: Final = ("API_RATE_LIMIT", "ORDER_RATE_LIMIT", "SMART_ORDER_RATE_LIMIT")
_NAMES: Final = ("HOST", "PORT", "OPENALGO_HOST_MASTER", "DATABASE_URL", *_RATES)


@dataclass(frozen=True, slots=True)
class Options:
    """The host's own variables.

    Attributes:
        host: HOST, the address to serve on.
        port: PORT, the port to serve on; 0 for any that is free.
        master: OPENALGO_HOST_MASTER, a master contract (CSV) to import at the first start in place of a generated one.
        rates: API_RATE_LIMIT, ORDER_RATE_LIMIT, SMART_ORDER_RATE_LIMIT, such as ``50 per second``.
        database_url: DATABASE_URL, where the application's own database is; empty for a SQLite file beside the caches.
    """

    host: str = _HOST
    port: int = _PORT
    master: Path | None = None
    rates: Rates = USUAL
    database_url: str = field(default="", repr=False)

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
        return cls(given["HOST"] or _HOST, int(port), master, rates, given["DATABASE_URL"])

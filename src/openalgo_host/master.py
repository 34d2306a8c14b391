"""The symbol master: generated, or imported from a file of the user's, at the first start."""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from openalgo_cache import CacheError, SymbolImportError
from openalgo_cache.symbols import MASTER_ROWS, generate_master
from openalgo_host.errors import StartError
from openalgo_host.india import INDIA
from openalgo_host.progress import Tell, progress

if TYPE_CHECKING:
    from openalgo_cache.symbols import SymbolMaster
    from openalgo_host.host import Host
    from openalgo_host.master_status import MasterStatus

_log = logging.getLogger("openalgo_host")


def ensure_master(host: Host, own: Path | None) -> None:
    """Fill the symbol master if nothing was ever imported, here or by another instance that shares the server.

    Args:
        host: Whose master it is.
        own: A master contract (CSV) to import; None to generate one, whose expiries lie after today.

    Raises:
        StartError: The file of the user's cannot be imported.
    """
    symbols, status = host.symbols, host.master_status
    _fetch(symbols)
    if count := symbols.count():
        _log.info("Symbol master: %s instruments", f"{count:,}")
    elif symbols.problem is not None:
        _log.error("The host starts without symbols: import a master contract with openalgo-cache symbols import FILE")
    elif own is not None:
        _log.info("First start: importing the master contract %s", own)
        _import(symbols, status, own, own.name)
    else:
        _log.info("First start: generating a master contract of %s instruments", f"{MASTER_ROWS:,}")
        with tempfile.TemporaryDirectory(prefix="openalgo-host-") as folder:
            made = Path(folder, "master.csv")
            generate_master(made, anchor=datetime.fromtimestamp(host.clock(), INDIA).date())
            _import(symbols, status, made, "generated")


def _fetch(symbols: SymbolMaster) -> None:
    with ExitStack() as shown:
        tell: Tell | None = None

        def told(what: str, done: float) -> None:  # the first time, there is something to show
            nonlocal tell
            tell = tell or shown.enter_context(progress("Sharing symbols"))
            tell(what, done)

        _synchronise(symbols, told)


def _synchronise(symbols: SymbolMaster, tell: Tell) -> None:
    try:
        symbols.synchronise(tell)
    except CacheError as error:
        _log.warning("The symbol master is not in step with other instances: %s", error)


def _import(symbols: SymbolMaster, status: MasterStatus, contract: Path, source: str) -> None:
    try:
        with status.importing(source) as done, progress("Importing symbols") as tell:
            report = symbols.import_first(contract, progress=tell)
            if report is None:  # another instance was quicker
                _synchronise(symbols, tell)
            done(symbols.count() if report is None else report.rows)
    except SymbolImportError as error:
        raise StartError(f"{contract} cannot be imported: {error}") from None
    if report is None:
        _log.info("Symbol master: %s instruments, which another instance imported meanwhile", f"{symbols.count():,}")
        return
    _log.info("Symbol master: %s instruments, imported in %.1f s", f"{report.rows:,}", report.seconds)
    for note in report.notes:
        _log.info("Symbol master: %s", note)

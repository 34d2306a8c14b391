"""What a master needs from time to time, done in the background: warm pages, another instance's version, a new import.

One thread a master and process. It starts with the first question, and again in a forked child; nobody waits for it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from openalgo_cache.clock import Clock
from openalgo_cache.errors import CacheError
from openalgo_cache.locks import Forks, sleep, start_new_thread
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.schema import Header
from openalgo_cache.symbols.source import stamp_of

if TYPE_CHECKING:
    from openalgo_cache.symbols.master import SymbolMaster
    from openalgo_cache.symbols.sharing import Sharing

_log = logging.getLogger(__name__)

_TICK: Final = 1.0
_BLOCK: Final = 1 << 20


class Upkeep:
    """The upkeep of one master in one process.

    Args:
        master: Whose upkeep it is; whoever drops the master ends it.
        where: The master's files.
        clock: Tells the time.
        sharing: What keeps it in step with other instances; None if it is alone.
        preload: Whether a version's pages are read ahead, so that its first questions don't wait for the disk.
        interval: Seconds between looks whether the file that was imported last has changed; None for never.
    """

    def __init__(  # noqa: PLR0913  # what a master stands on, and two settings
        self,
        master: SymbolMaster,
        where: MasterFiles,
        clock: Clock,
        sharing: Sharing | None,
        *,
        preload: bool,
        interval: float | None,
    ) -> None:
        self._master = weakref.ref(master)
        self._where = where
        self._clock = clock
        self._sharing = sharing
        self.preload = preload
        self.interval = interval
        self._warmed: str | None = None
        self._looked_at = clock()
        self._started_at = -1
        self._run = 0
        self.problem: str | None = None
        self.blocks_read = 0

    def start(self) -> None:
        """See to it that this process's thread looks after the master, if there is anything to do for it."""
        if not self.is_started() and (self.preload or self.interval or self._sharing):
            self._started_at = Forks.count
            self._run += 1
            start_new_thread(_loop, (weakref.ref(self), self._run))

    def stop(self) -> None:
        """Let the thread end; what it is reading ahead is left at once."""
        self._run += 1
        self._started_at = -1

    def is_started(self) -> bool:
        """Return whether this process has a thread for it."""
        return self._started_at == Forks.count

    def is_run(self, run: int) -> bool:
        """Return whether the thread of a run is to go on."""
        return run == self._run

    def tick(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Do what is to be done now.

        Args:
            goes_on: Asked between blocks of a file that is read ahead.
        """
        master = self._master()
        if master is None:
            return
        if self._sharing is not None and self._sharing.keep_in_step():
            master.header(look=True)  # serves it from now on
        if self.interval is not None:
            now = self._clock()
            if not self._looked_at <= now < self._looked_at + self.interval:
                self._looked_at = now
                self._refresh(master)
        if self.preload:
            self._warm(goes_on)

    def _warm(self, goes_on: Callable[[], bool]) -> None:
        """Read the current version's file once, so that its pages are in the system's memory."""
        with suppress(CacheError, OSError):  # whoever asks is told
            number = self._where.current()
            if number is None or number == self._warmed:
                return
            with self._where.path_of(number).open("rb", buffering=0) as file:
                while goes_on() and file.read(_BLOCK):
                    self.blocks_read += 1
            self._warmed = number

    def _refresh(self, master: SymbolMaster) -> None:
        """Import the file that was imported last again, if it changed; the old master stays if that fails."""
        header = master.header()
        if header is None or not has_changed(header):
            return
        try:
            report = master.import_if(header.source, skip_bad=header.skip_bad, needed=lambda: is_due(master))
        except CacheError as error:
            if self.problem != str(error):
                _log.error("%s changed and cannot be imported, the old symbol master stays: %s", header.source, error)
            self.problem = str(error)
        else:
            self.problem = None
            if report is not None:
                _log.info("%s changed: imported %s instruments", header.source, f"{report.rows:,}")


def has_changed(header: Header) -> bool:
    """Return whether the file that a version came from is there and is another one by now."""
    return bool(header.source) and stamp_of(header.source) not in {"", header.stamp}


def is_due(master: SymbolMaster) -> bool:
    """Look again, once the import's turn has come: another process of the instance may have done it."""
    header = master.header(look=True)
    return header is not None and has_changed(header)


def _loop(of_upkeep: weakref.ref[Upkeep], run: int) -> None:
    while True:
        upkeep = of_upkeep()
        if upkeep is None or not upkeep.is_run(run):
            return
        try:
            upkeep.tick(lambda upkeep=upkeep: upkeep.is_run(run))  # type: ignore[misc]  # bound at once
        except Exception as error:  # noqa: BLE001  # a thread that ends would do nothing for ever, and say nothing
            _log.error("the symbol master's upkeep failed: %s", type(error).__name__)
        del upkeep  # or neither it nor its master could be collected
        sleep(_TICK)

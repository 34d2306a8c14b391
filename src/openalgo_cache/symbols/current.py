"""Which version of the master a process answers from: the one that the pointer names, looked at once a second."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from openalgo_cache.clock import Clock
from openalgo_cache.errors import BackendUnavailableError, UnreadableRecordError
from openalgo_cache.locks import make_lock
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.symbols.lookups import Lookups
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.model import Instrument
from openalgo_cache.symbols.schema import Lookup
from openalgo_cache.symbols.sharing import Sharing
from openalgo_cache.symbols.signing import Seal
from openalgo_cache.symbols.version import MasterVersion, VersionGoneError

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 1.0
"""Seconds for which a process may go on with the version it has before it looks at the pointer again."""

_ATTEMPTS: Final = 5

Answer = TypeVar("Answer")


class CurrentVersion:
    """Opens the current version when it is first asked, and its successors; each answer comes from one of them.

    Args:
        files: Where the versions lie.
        seal: Verifies them; None for unsigned ones.
        clock: Tells the time.
        sharing: Fetches other instances' version at the first look if there is none of our own; None if we are alone.
        looking: Called before each look.

    Attributes:
        served: The version that was opened last; None if there is none.
        problem: Why nothing newer is served although it should be; None if nothing is wrong.
        counters: Count what is asked, across versions.
    """

    def __init__(
        self,
        files: MasterFiles,
        seal: Seal | None,
        clock: Clock,
        sharing: Sharing | None,
        looking: Callable[[], None],
    ) -> None:
        self.served: Lookups | None = None
        self.problem: str | None = None
        self.counters = Counters()
        self._files = files
        self._seal = seal
        self._clock = clock
        self._sharing = sharing
        self._looking = looking
        self._is_new = True
        self._looked_at = float("-inf")
        self._lock = make_lock()  # held for as long as opening a file takes

    def find(self, lookup: Lookup, text: str, exchange: str) -> Instrument | None:
        """Return the one instrument that ``text`` identifies on an exchange, or None."""
        try:
            lookups = self.lookups()
            return None if lookups is None else lookups.find(lookup, text, exchange)
        except VersionGoneError:
            return self.ask(lambda current: current.find(lookup, text, exchange), None)

    def ask(self, question: Callable[[Lookups], Answer], empty: Answer) -> Answer:
        """Ask the current version; if an import removed its file meanwhile, its successor.

        Args:
            question: What to ask of it.
            empty: The answer if there is none.

        Raises:
            BackendUnavailableError: One after the other was removed.
        """
        for _ in range(_ATTEMPTS):
            lookups = self.lookups()
            if lookups is None:
                return empty
            try:
                return question(lookups)
            except VersionGoneError:
                self.look()
        raise BackendUnavailableError(f"the symbol master in {self._files.folder} is being replaced again and again")

    def lookups(self) -> Lookups | None:
        """Return the current version, or None; look at the pointer once a second."""
        if self._looked_at <= self._clock() < self._looked_at + _LOOK_EVERY:
            return self.served
        with self._lock:
            if not self._looked_at <= self._clock() < self._looked_at + _LOOK_EVERY:
                self._look()
            return self.served

    def look(self) -> None:
        """Look at the pointer now."""
        with self._lock:
            self._look()

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        self._is_new = True
        served, self.served = self.served, None
        self._looked_at = float("-inf")
        if served is not None:
            served.version.close()

    def _look(self) -> None:
        """Open the version that the pointer names, if it is not the one that is open."""
        if self._is_new:
            self._is_new = False
            if self._sharing is not None and not self._sharing.has_own():
                self._sharing.keep_in_step()
        self._looking()
        try:
            self.served = self._open()
            self.problem = None
        except (UnreadableRecordError, BackendUnavailableError) as error:
            if self.problem != str(error):
                _log.error("the symbol master is not served: %s", error)
            self.problem = str(error)
            if isinstance(error, UnreadableRecordError):
                self.served = None  # what cannot be opened just now may be opened later: that one is served on
        self._looked_at = self._clock()

    def _open(self) -> Lookups | None:
        served = self.served
        for _ in range(_ATTEMPTS):
            number = self._files.current()
            if number is None:
                return None
            path = self._files.path_of(number)
            if served is not None and served.version.number == number and path.exists():
                return served
            try:
                lookups = Lookups(MasterVersion(path, number, self._seal), self.counters)
            except VersionGoneError:  # replaced between reading the pointer and opening the file
                continue
            if served is not None:
                served.version.close()
            return lookups
        raise UnreadableRecordError(f"the symbol master in {self._files.folder} has lost its file: import it again")

"""The symbol master: what every part of an application asks about instruments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from openalgo_cache.catalogue import Durability
from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.errors import CacheError
from openalgo_cache.symbols import derivatives
from openalgo_cache.symbols.current import CurrentVersion
from openalgo_cache.symbols.filters import Filters
from openalgo_cache.symbols.importing import ImportReport, Progress, import_master
from openalgo_cache.symbols.lookups import Lookups
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.model import ChainRow, Instrument
from openalgo_cache.symbols.schema import BY_BRSYMBOL, BY_SYMBOL, BY_TOKEN, Header, Lookup
from openalgo_cache.symbols.search import Search
from openalgo_cache.symbols.sharing import Seen, Sharing
from openalgo_cache.symbols.shelf import Published, Shelf
from openalgo_cache.symbols.signing import Seal
from openalgo_cache.symbols.source import Source
from openalgo_cache.symbols.upkeep import Upkeep

_IMPORTING: Final = 0.8  # of an import that is then published

Pair = tuple[str, str]


class SymbolMaster:
    """Answers from the current version, and imports new ones.

    The file is opened at the first question, not before. Any number of threads and processes may ask while an import
    runs: each answer comes from one version, all of the old or all of the new, which is seen a second after the switch
    at the latest (at once by the object that imported it).

    A master that is missing, damaged, or signed with another key ring answers like an empty one, says so in
    :attr:`problem`, and is logged once; it is never deleted.

    Args:
        base: The path that the master's files begin with: ``db/cache`` makes ``db/cache_symbols-….db``.
        seal: Signs and verifies every row; usually the installation's key ring. None for an unsigned master.
        clock: Tells the time.
        open_shelf: Returns where instances share their master, or None if this one is alone; asked when first needed.
        preload: Whether a version is read ahead, in the background.
        refresh_interval: Seconds between looks whether the file that was imported last changed; None for never.
        background: Whether a thread does that and looks for other instances' masters; without one, :meth:`tick` does.
        show_counts: Whether :meth:`stats` includes what was counted.
    """

    def __init__(  # noqa: PLR0913  # what an installation decides
        self,
        base: str | os.PathLike[str],
        seal: Seal | None = None,
        clock: Clock = system_clock,
        *,
        open_shelf: Callable[[], Shelf | None] | None = None,
        preload: bool = False,
        refresh_interval: float | None = None,
        background: bool = True,
        show_counts: bool = True,
    ) -> None:
        self._files = MasterFiles(base)
        self._seal = seal
        self._clock = clock
        self._sharing = None if open_shelf is None else Sharing(self._files, seal, clock, open_shelf)
        self._upkeep = Upkeep(self, self._files, clock, self._sharing, preload=preload, interval=refresh_interval)
        looking = self._upkeep.start if background else lambda: None
        self._current = CurrentVersion(self._files, seal, clock, self._sharing, looking)
        self._show_counts = show_counts

    # -- one instrument ------------------------------------------------------------------------------------------------

    def by_symbol(self, symbol: str, exchange: str) -> Instrument | None:
        """Return the instrument that OpenAlgo calls ``symbol`` on an exchange, or None."""
        return self._current.find(BY_SYMBOL, symbol, exchange)

    def by_token(self, token: str, exchange: str) -> Instrument | None:
        """Return the instrument that has the broker's ``token`` on an exchange, or None."""
        return self._current.find(BY_TOKEN, token, exchange)

    def by_brsymbol(self, brsymbol: str, exchange: str) -> Instrument | None:
        """Return the instrument that the broker calls ``brsymbol`` on an exchange, or None."""
        return self._current.find(BY_BRSYMBOL, brsymbol, exchange)

    def all_by_token(self, token: str) -> list[Instrument]:
        """Return the instruments of all exchanges that have ``token``: two exchanges may use the same one."""
        return self._current.ask(lambda lookups: lookups.all_by_token(token), [])

    # -- many at once --------------------------------------------------------------------------------------------------

    def many_by_symbol(self, pairs: Iterable[Pair]) -> list[Instrument | None]:
        """Return an instrument or None for each (symbol, exchange), in the same order, all from one version."""
        return self._find_many(BY_SYMBOL, pairs)

    def many_by_token(self, pairs: Iterable[Pair]) -> list[Instrument | None]:
        """Return an instrument or None for each (token, exchange), in the same order, all from one version."""
        return self._find_many(BY_TOKEN, pairs)

    def many_by_brsymbol(self, pairs: Iterable[Pair]) -> list[Instrument | None]:
        """Return an instrument or None for each (brsymbol, exchange), in the same order, all from one version."""
        return self._find_many(BY_BRSYMBOL, pairs)

    # -- searches ------------------------------------------------------------------------------------------------------

    def search(self, query: str, exchange: str | None = None, limit: int = 50) -> list[Instrument]:
        """Return the instruments that fit what was typed, the best first; see :mod:`openalgo_cache.symbols.search`.

        Args:
            query: Words, all of which must be found; taken literally.
            exchange: Only this exchange.
            limit: The most to return.

        Raises:
            ValueError: ``limit`` is less than 1.
        """
        _check_limit(limit)
        filters = Filters(exchange)
        return self._current.ask(lambda lookups: Search(lookups.version, query, filters, limit).run(), [])

    def fno_search(  # noqa: PLR0913  # the filters there are
        self,
        query: str | None = None,
        *,
        exchange: str | None = None,
        underlying: str | None = None,
        expiry: str | None = None,
        strike_min: float | None = None,
        strike_max: float | None = None,
        instrumenttype: str | None = None,
        limit: int = 10_000,
    ) -> list[Instrument]:
        """Return options and futures.

        Args:
            query: As in :meth:`search`; None or empty for all, which then come by expiry, strike and kind.
            exchange: Only this exchange.
            underlying: Only on this underlying.
            expiry: Only with this expiry, ``28-MAR-24``.
            strike_min: Only strikes from here on.
            strike_max: Only strikes up to here.
            instrumenttype: ``CE``, ``PE`` or ``FUT``.
            limit: The most to return.

        Raises:
            ValueError: ``limit`` is less than 1, the expiry is no date, or the type is none of the three.
        """
        _check_limit(limit)
        filters = Filters(exchange, underlying, expiry, strike_min, strike_max, instrumenttype, only_contracts=True)
        return self._current.ask(lambda lookups: derivatives.contracts(lookups.version, query, filters, limit), [])

    def expiries(
        self, exchange: str | None = None, underlying: str | None = None, instrumenttype: str | None = None
    ) -> list[str]:
        """Return the expiries there are, the earliest first; each argument narrows them down.

        Raises:
            ValueError: ``instrumenttype`` is neither CE, PE nor FUT.
        """
        filters = Filters(exchange, underlying, kind=instrumenttype, only_contracts=True)
        return self._current.ask(lambda lookups: derivatives.expiries(lookups.version, filters), [])

    def underlyings(self, exchange: str | None = None, *, include_futures: bool = False) -> list[str]:
        """Return what options (and futures, if asked for) are written on, in alphabetical order."""
        return self._current.ask(
            lambda lookups: derivatives.underlyings(lookups.version, exchange, include_futures=include_futures), []
        )

    def option_chain(self, underlying: str, expiry: str, exchange: str) -> list[ChainRow]:
        """Return the strikes of one underlying and expiry, the lowest first, each with its call and its put.

        Raises:
            ValueError: The expiry is no date like ``28-MAR-24``.
        """
        filters = Filters(exchange, underlying, expiry, only_contracts=True)
        return self._current.ask(lambda lookups: derivatives.option_chain(lookups.version, filters), [])

    def listed(self, exchange: str | None = None) -> list[Instrument]:
        """Return every instrument, of one exchange or of all, in no particular order."""

        def collect(lookups: Lookups) -> list[Instrument]:
            return [one for one in lookups.version.in_order() if exchange is None or one.exchange == exchange]

        return self._current.ask(collect, [])

    # -- the whole -----------------------------------------------------------------------------------------------------

    def import_master(
        self, source: Source, *, skip_bad: bool = False, progress: Progress | None = None
    ) -> ImportReport:
        """Replace the master, as a whole or not at all.

        One import at a time; a second one waits. An import that fails, or is killed, leaves the old master in place.

        Where instances share a server, it is then published to them; if that is not possible, the report says so, and
        it is published later.

        Args:
            source: A path of a CSV file (``.gz`` is unpacked), an open file, or rows.
            skip_bad: Leave bad rows out instead of refusing the whole.
            progress: Told what is being done and how far it is, 0 to 1.

        Raises:
            SymbolImportError: Rows are bad (``problems`` lists them), there are none, or the source cannot be read.
            BackendUnavailableError: The new master cannot be written.
            UnreadableRecordError: The new master does not read back as it was written.
        """
        report = self.import_if(source, skip_bad=skip_bad, progress=progress)
        assert report is not None  # noqa: S101  # for the type checker: it was needed
        return report

    def import_first(self, source: Source, *, progress: Progress | None = None) -> ImportReport | None:
        """Do as :meth:`import_master` does if there is no master yet, here or at another instance; else return None.

        Of several instances that do so at once, the first one publishes its master, and the others take that over.
        """
        return self.import_if(source, progress=progress, needed=self._is_first)

    def import_if(
        self,
        source: Source,
        *,
        skip_bad: bool = False,
        progress: Progress | None = None,
        needed: Callable[[], bool] = lambda: True,
    ) -> ImportReport | None:
        """Do as :meth:`import_master` does, if ``needed`` says so once it is this import's turn; else return None."""
        tell, sharing = progress or (lambda _what, _done: None), self._sharing
        seen = Seen() if sharing is None else sharing.before_import()
        own_part = 1.0 if sharing is None or not sharing.is_shared() else _IMPORTING
        report = import_master(
            self._files,
            self._seal,
            self._clock,
            source,
            skip_bad=skip_bad,
            progress=lambda what, done: tell(what, done * own_part),
            needed=needed,
            finished=lambda number: None if sharing is None else sharing.expect(seen, number),
        )
        if report is not None and sharing is not None:
            published, note = sharing.after_import(
                report.version, lambda what, done: tell(what, own_part + (1.0 - own_part) * done)
            )
            report = report._replace(published=published, notes=[*report.notes, *([note] if note else [])])
        self._current.look()
        tell("done", 1.0)
        return report

    def synchronise(self, progress: Progress | None = None) -> Published | None:
        """Fetch what other instances published, or publish what they lack; return what is published, if anything is.

        That happens in the background, too, and at the first question where nothing was imported yet.

        Args:
            progress: Told what is being done and how far it is, 0 to 1.

        Raises:
            BackendUnavailableError: The shared store does not answer, or our own folder cannot be written.
            UnreadableRecordError: What is published cannot be verified.
        """
        if self._sharing is None:
            return None
        published = self._sharing.synchronise(progress or (lambda _what, _done: None))
        self._current.look()
        return published

    def tick(self) -> None:
        """Do what the background thread does every second."""
        self._upkeep.tick()

    def header(self, *, look: bool = False) -> Header | None:
        """Return what the current version says of itself, if there is one; ``look`` for a newer one first."""
        if look:
            self._current.look()
        lookups = self._current.lookups()
        return None if lookups is None else lookups.version.header

    def count(self) -> int:
        """Return how many instruments there are."""
        return self._current.ask(lambda lookups: lookups.version.header.rows, 0)

    @property
    def problem(self) -> str | None:
        """Why the master is empty although it should not be; None if nothing is wrong or nothing was imported yet."""
        self._current.lookups()
        return self._current.problem

    def stats(self, *, look: bool = True) -> dict[str, Any]:
        """Return the state of the master: what is served, from where, and what is wrong with it.

        It begins with what ``Cache.stats`` says of any cache. What is counted are look-ups by symbol, token and
        broker's symbol, not searches; a hit is one that found its instrument, a near one found it in memory.

        Args:
            look: Whether to look for the version that is current; else it is told of the one that was opened last.
        """
        lookups = self._current.lookups() if look else self._current.served
        held = 0 if lookups is None else lookups.held()
        stats: dict[str, Any] = {
            "size": 0,
            "backend": "sqlite",
            "encrypted": False,
            "durability": Durability.SNAPSHOT.value,
            "memory_bytes": 0 if lookups is None else lookups.footprint(),
            "pending_deletes": 0,
            **(self._current.counters.figures(0, held, 0) if self._show_counts else {}),
            "total_symbols": 0,
            "problem": self._current.problem,
        }
        if self._sharing is not None:
            stats["sharing_problem"] = self._sharing.problem
        if self._upkeep.problem is not None:
            stats["refresh_problem"] = self._upkeep.problem
        if lookups is not None:
            version = lookups.version
            stats |= {
                "size": version.header.rows,
                "total_symbols": version.header.rows,
                "exchanges": dict(version.header.exchanges),
                "version": version.number,
                "imported_at": version.header.created_at,
                "source": version.header.source,
                "file": str(version.path),
                "file_bytes": version.file_bytes,
                "signed": self._seal is not None,
                "held_in_memory": held,
                "unreadable_rows": version.unreadable,
            }
        return stats

    def close(self) -> None:
        """Close the files and stop what is done in the background; the next question opens them again."""
        self._upkeep.stop()
        if self._sharing is not None:
            self._sharing.close()
        self._current.close()

    def _is_first(self) -> bool:
        """Return whether nothing was imported, as far as can be known."""
        if self._files.current() is not None:
            return False
        try:
            return self._sharing is None or self._sharing.published() is None
        except CacheError:
            return True

    def _find_many(self, lookup: Lookup, pairs: Iterable[Pair]) -> list[Instrument | None]:
        wanted = list(pairs)
        return self._current.ask(lambda lookups: lookups.find_many(lookup, wanted), [None] * len(wanted))


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"limit must be 1 or more, not {limit}")

"""One version of the master: an immutable file, opened read-only, of which nothing unverified is handed out."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from openalgo_cache.errors import BackendUnavailableError, UnreadableRecordError
from openalgo_cache.symbols.model import Instrument
from openalgo_cache.symbols.schema import INSTRUMENT, INSTRUMENTS_FIRST, SHARED, Header, Lookup
from openalgo_cache.symbols.signing import Seal, Signer

_log = logging.getLogger(__name__)

_IDLE_READERS: Final = 4
_FIELDS: Final = len(Instrument._fields)
# What reading a damaged or forged file can raise: SQLite's own errors, and texts that are no UTF-8.
_DAMAGE: Final = (apsw.Error, UnicodeDecodeError)

Bindings = Sequence[Any] | dict[str, Any]
_Execute = Callable[..., apsw.Cursor]
_Shared = tuple[str, str, str, int, str, float, float | None, str]

HELD_SERIES: Final = 4_096
"""How many series a version holds: 1 MB at most."""

_new: Final = tuple.__new__

_versions: Final[weakref.WeakSet[MasterVersion]] = weakref.WeakSet()
_inherited: Final[list[object]] = []


class VersionGoneError(Exception):
    """The file is no longer there: a later import removed it, and the reader has to look for its successor."""


class OtherFormatError(UnreadableRecordError):
    """The file was signed by us, and written by another release."""


class _Reader:
    """A connection, and a cursor for questions with one answer."""

    __slots__ = ("connection", "execute")

    def __init__(self, path: Path) -> None:
        # immutable: the file never changes, so SQLite need not lock it or look whether it did.
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        self.connection = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
        # Without this, SQLite plans a join anew at every call, to look at the bound values: 20 us instead of 5.
        self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # Whoever wrote into the file must not be able to make reading it run anything.
        self.connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        self.connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0)
        self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        # Not mapped: pages that a process has mapped alone count as its own, and a file that somebody cuts while it is
        # mapped ends the process. Reading from the system's copy costs a microsecond more.
        self.execute = self.connection.cursor().execute


class MasterVersion:
    """Reads one version. Safe to use from several threads and after a fork.

    Args:
        path: The version's file.
        number: The version's random id, 32 hexadecimal digits.
        seal: What it must have been signed with; None for an unsigned version.

    Raises:
        VersionGoneError: There is no such file.
        UnreadableRecordError: It is damaged, unfinished, or was not signed with this seal.
        OtherFormatError: It is of another format.
    """

    def __init__(self, path: Path, number: str, seal: Seal | None) -> None:
        self.path = path
        self.number = number
        self.unreadable = 0
        self._signed = seal is not None
        self._signer = Signer(seal, bytes.fromhex(number))
        self._verify = self._signer.verify
        self._series: dict[int, _Shared] = {}
        self._idle: list[_Reader] = []
        self._closed = False
        self._texts: dict[str, str] = {}  # of exchanges, underlyings, expiries and types: as few as a version has
        _versions.add(self)
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise
        self.exchange_numbers = {exchange: place for place, exchange in enumerate(self.header.exchanges)}

    def first(self, lookup: Lookup, text: str, exchange: int) -> Instrument | None:
        """Return the instrument that a look-up finds, if it verifies; else None.

        Args:
            lookup: What the text is.
            text: What is looked for.
            exchange: The exchange's place in the header.
        """
        reader = self._take()
        try:
            return self._first(reader.execute, lookup, text, exchange)
        finally:
            self._give(reader)

    def first_of_each(self, lookup: Lookup, texts: list[str], exchange: int) -> list[Instrument]:
        """Do the same for many texts of one exchange; return those that are found, in any order."""
        texts.sort()  # as the index is: neighbours share its pages
        reader = self._take()
        execute = reader.execute
        try:
            rows = reader.connection.execute(lookup.sql_of_many, (apsw.carray(tuple(texts)), exchange))
            return self._instruments(execute, rows.fetchall())
        except (*_DAMAGE, UnicodeEncodeError):
            # One bad page, or one text that is none, must not take the other answers with it.
            found = [self._first(execute, lookup, text, exchange) for text in texts]
        finally:
            self._give(reader)
        return [instrument for instrument in found if instrument is not None]

    def _first(self, execute: _Execute, lookup: Lookup, text: str, exchange: int) -> Instrument | None:
        try:
            row = execute(lookup.sql, (text, exchange)).get
            found = [] if row is None else self._instruments(execute, (row,))
        except _DAMAGE as error:
            self._report(error)
            return None
        except UnicodeEncodeError:  # a lone surrogate in what was asked for: no instrument has one
            return None
        return found[0] if found else None

    def _instruments(self, execute: _Execute, rows: Iterable[tuple[Any, ...]]) -> list[Instrument]:
        """Return the instruments of rows of ``schema.OWN``, those whose marks fit them."""
        found = []
        known, verify = self._series.get, self._verify
        for symbol, brsymbol, name, token, strike, series, number, mark in rows:
            held = known(series)
            shared = held or self._read_series(execute, series)
            if shared is None:
                continue
            exchange, brexchange, expiry, lotsize, kind, tick, value, underlying = shared
            fields = (
                symbol, symbol if brsymbol == symbol else brsymbol, underlying if name is None else name, exchange,
                brexchange, token, expiry, strike, lotsize, kind, tick, value, underlying,
            )  # fmt: skip
            if not verify(number, fields, mark):
                self._report(None)
                continue
            if held is None:  # only now: what a damaged file says of a series must not stay
                self._hold_series(series, shared)
            found.append(_new(Instrument, fields))
        return found

    def _read_series(self, execute: _Execute, series: int) -> _Shared | None:
        """Return what the instruments of a series share; the mark of each of them tells whether it is true."""
        row = execute(SHARED, (series,)).get
        if row is None:
            return None
        exchange, brexchange, expiry, lotsize, kind, tick, value, underlying = row
        # What many series share is kept once: without that, what is held would weigh half as much again.
        share = self._texts.setdefault
        exchange, underlying = share(exchange, exchange), share(underlying, underlying)
        return (
            exchange,
            exchange if brexchange == exchange else brexchange,
            share(expiry, expiry),
            lotsize,
            share(kind, kind),
            tick,
            value,
            underlying,
        )

    def _hold_series(self, series: int, shared: _Shared) -> None:
        if len(self._series) >= HELD_SERIES:
            self._series.clear()
        self._series[series] = shared

    def all(self, sql: str, bindings: Bindings) -> list[Instrument]:
        """Return the instruments that a query for ``schema.INSTRUMENT`` finds, those that verify, in its order."""
        reader = self._take()
        try:
            found = [self._verified(row) for row in reader.execute(sql, bindings)]
        except _DAMAGE as error:
            self._report(error)
            return []
        except UnicodeEncodeError:
            return []
        finally:
            self._give(reader)
        return [instrument for instrument in found if instrument is not None]

    def in_order(self) -> Iterator[Instrument]:
        """Yield all instruments that verify, in the order of their numbers, up to where the file can be read."""
        reader = self._take()
        try:
            rows = reader.connection.execute(f"SELECT {INSTRUMENT} FROM {INSTRUMENTS_FIRST} ORDER BY i.id")  # noqa: S608  # constants
            yield from filter(None, map(self._verified, rows))
        except _DAMAGE as error:
            self._report(error)
        finally:
            self._give(reader)

    def check(self) -> None:
        """Read everything once.

        Raises:
            UnreadableRecordError: Something is not as it was written.
        """
        reader = self._take()
        try:
            verdict = reader.connection.pragma("integrity_check")
            rows = reader.execute(f"SELECT {INSTRUMENT} FROM {INSTRUMENTS_FIRST}")  # noqa: S608  # constants
            verified = sum(self._signer.verify(row[_FIELDS], row[:_FIELDS], row[_FIELDS + 1]) for row in rows)
        except _DAMAGE as error:
            raise UnreadableRecordError(f"the symbol master {self.path} is damaged ({error})") from None
        finally:
            self._give(reader)
        if verdict != "ok" or verified != self.header.rows:
            raise UnreadableRecordError(f"the symbol master {self.path} is damaged: {verified} rows verify ({verdict})")

    def close(self) -> None:
        """Close the connections that nobody uses; those in use are closed when they are given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().connection.close()

    def abandon_readers(self) -> None:
        """Forget the connections that a parent process opened: its child must neither use nor close them."""
        _inherited.append(self._idle)
        self._idle = []

    def _read_header(self) -> Header:
        reader = self._take()
        try:
            stored = reader.execute("SELECT content, mark FROM header LIMIT 1").get
            self.file_bytes: int = reader.connection.pragma("page_count") * reader.connection.pragma("page_size")
        except _DAMAGE as error:
            raise UnreadableRecordError(f"the symbol master {self.path} is damaged ({error})") from None
        finally:
            self._give(reader)
        if stored is None:
            raise UnreadableRecordError(f"the symbol master {self.path} is unfinished")
        if not self._signer.verify(0, stored[:1], stored[1]):
            fault = "was not signed with this key ring" if self._signed else "is signed, and no key ring was given"
            raise UnreadableRecordError(
                f"the symbol master {self.path} {fault}: bring the right key ring back, or import the master again"
            )
        try:
            return Header.of_json(stored[0])
        except (ValueError, TypeError, KeyError) as error:
            raise OtherFormatError(f"the symbol master {self.path} cannot be read: {error}") from None

    def _verified(self, row: tuple[Any, ...]) -> Instrument | None:
        """Return the instrument of a row, or None if its mark does not fit it."""
        fields = row[:_FIELDS]
        if not self._signer.verify(row[_FIELDS], fields, row[_FIELDS + 1]):
            self._report(None)
            return None
        (
            symbol, brsymbol, name, exchange, brexchange, token, expiry, strike, lotsize, kind, tick, value, underlying,
        ) = fields  # fmt: skip
        # What many instruments share is kept once: without that, those that are held would weigh half as much again.
        share = self._texts.setdefault
        exchange, underlying = share(exchange, exchange), share(underlying, underlying)
        return tuple.__new__(
            Instrument,
            (
                symbol,
                symbol if brsymbol == symbol else brsymbol,
                underlying if name == underlying else name,
                exchange,
                exchange if brexchange == exchange else brexchange,
                token,
                share(expiry, expiry),
                strike,
                lotsize,
                share(kind, kind),
                tick,
                value,
                underlying,
            ),
        )

    def _report(self, error: Exception | None) -> None:
        """Count what cannot be trusted, and say so once for this version."""
        self.unreadable += 1
        if self.unreadable == 1:
            what = "a row is damaged or forged" if error is None else f"{type(error).__name__}: {error}"
            _log.error("symbol master %s: %s; such rows are left out: import it again", self.path, what)

    def _take(self) -> _Reader:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return _Reader(self.path)
        except apsw.CantOpenError as error:
            if not self.path.exists():
                raise VersionGoneError(str(self.path)) from None
            raise BackendUnavailableError(f"the symbol master {self.path} cannot be opened: {error}") from None

    def _give(self, reader: _Reader) -> None:
        if self._closed or len(self._idle) >= _IDLE_READERS:
            reader.connection.close()
        else:
            self._idle.append(reader)


def _abandon_all_readers() -> None:
    for version in _versions:
        version.abandon_readers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all_readers)

"""Which processes hold which keys, as they tell each other through the store that they share.

Each process keeps one line in a common record: the fingerprint of its key ring, the ids of its keys, which of them is
active, and when that was. Never a secret. So ``keys activate`` can wait until everybody holds a key, and who comes with
another ring is told before anything is lost.

A line is signed under the ring's secret that never rotates. One that says our fingerprint and is not signed by it is
made up, and thrown away. One of another ring cannot be verified by us, so it is only believed against a ring that
nobody else has here: whoever can write to the store can keep a first instance from starting, not a second one, and
nobody from going on.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Final, NamedTuple

import ormsgpack

from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.clock import Clock
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.errors import CacheError, KeyRingError
from openalgo_cache.locks import Forks, make_lock

_log = logging.getLogger("openalgo_cache")

FRESH: Final = 60.0
"""Seconds after which a process that told nothing counts as gone."""
_BEAT: Final = 15.0
_KEPT: Final = 30 * 86_400.0
"""Seconds for which the last line of a ring says whose store this is, though all of its processes have gone."""
_MAGIC: Final = b"OACKEYS1"
_FRAME: Final = struct.Struct(">8sdH")
"""Fingerprint of the ring, when it was, length of what follows."""
_MAC: Final = 32
_MOST_LINES: Final = 256
_MOST_BYTES: Final = 1 << 16
_TRIES: Final = 5


class Holder(NamedTuple):
    """A process that holds our ring.

    Attributes:
        instance: INSTANCE_ID, or the host's name and port.
        process: A random word; an instance may be several processes.
        keys: The ids of the keys that it holds.
        active: The id of the key that it seals with.
        seen_at: When it told so, seconds since the epoch.
    """

    instance: str
    process: str
    keys: tuple[int, ...]
    active: int
    seen_at: float


class Stranger(NamedTuple):
    """A process that says it holds another ring: the ring's fingerprint, and when that was."""

    fingerprint: str
    seen_at: float


class Roll(NamedTuple):
    """Who holds what.

    Attributes:
        holders: Those that hold our ring; the last line of a ring is kept when they have gone.
        strangers: Those that say they hold another.
        forged: How many lines were made up, or damaged.
    """

    holders: list[Holder]
    strangers: list[Stranger]
    forged: int


class _Line(NamedTuple):
    fingerprint: bytes
    seen_at: float
    content: bytes
    holder: Holder | None


class KeyHolders:
    """The lines of one namespace in one store.

    Args:
        open_store: Opens the store; it is closed again each time, since others share its connections.
        prefix: What its stored keys begin with.
        ring: Our key ring.
        instance: What others call us.
        clock: Where the time comes from; those of all instances have to agree to half a minute.
    """

    __slots__ = (
        "__weakref__",
        "_absent", "_clock", "_instance", "_known", "_lock", "_next", "_open_store", "_process", "_ring", "_said",
        "_started_at", "key",
    )  # fmt: skip

    def __init__(
        self, open_store: Callable[[], CacheBackend], prefix: str, ring: LiveRing, instance: str, clock: Clock
    ) -> None:
        self.key = f"{prefix}all"
        self._open_store = open_store
        self._ring = ring
        self._instance = instance
        self._clock = clock
        self._lock = make_lock()
        self._known: object = None
        self._next = 0.0
        self._said: set[str] = set()
        self._process = ""
        self._absent = False
        self._started_at = -1

    def roll(self) -> Roll:
        """Return who holds what.

        Raises:
            BackendUnavailableError: The store cannot be read.
            BackendMisconfiguredError: It refuses us.
        """
        with closing(self._open_store()) as store:
            return _roll_of(self._lines(self._read(store), self._clock()))

    def join(self, *, strict: bool) -> None:
        """Tell what we hold, if the store is not another ring's.

        Args:
            strict: Whether it is an error if it is.

        Raises:
            KeyRingError: It is.
            BackendUnavailableError: The store cannot be read or written.
            BackendMisconfiguredError: It refuses us.
        """
        roll = self.roll()
        if strict and roll.strangers and not roll.holders:
            theirs = max(roll.strangers, key=lambda stranger: stranger.seen_at)
            raise KeyRingError(
                f"this store is in use with another key ring: its fingerprint is {theirs.fingerprint}, ours is "
                f"{self._ring.now.fingerprint()}. Give every instance the same ring (CACHE_KEY_FILE). If theirs is out "
                f"of use, clear the store, and delete {self.key} in it"
            )
        self._tell(roll)

    def tick(self) -> None:
        """Tell again what we hold, if it is time or the keys have changed; the store may be away."""
        now = time.monotonic()
        if self._absent:
            return
        if now >= self._next or self._known is not self._ring.now or self._started_at != Forks.count:
            self._next = now + _BEAT
            with suppress(CacheError):
                self._tell(self.roll())

    def leave(self) -> None:
        """Take our line back, so that nobody waits for us; a store that is away is none of our business any more."""
        self._absent = True
        if self._started_at == Forks.count:
            with suppress(CacheError):
                self._exchange(ours=None)

    def _tell(self, roll: Roll) -> None:
        """Write our line, and say what is wrong."""
        ring = self._ring.now
        with self._lock:
            if self._started_at != Forks.count:  # a forked child is another process
                self._process, self._started_at = os.urandom(4).hex(), Forks.count
        self._exchange(Holder(self._instance, self._process, tuple(k.id for k in ring.keys), ring.active.id, 0.0))
        self._known = ring
        if self._absent:  # since we began to write
            self._exchange(ours=None)
        if roll.forged and "" not in self._said:
            self._said.add("")
            _log.warning("what is said of key rings at %s was made up or damaged, and is thrown away", self.key)
        for fingerprint in sorted({stranger.fingerprint for stranger in roll.strangers} - self._said):
            self._said.add(fingerprint)
            _log.error(
                "the store at %s is in use with another key ring as well: its fingerprint is %s, ours is %s. What one "
                "writes the other cannot read: give every instance the same ring, or a CACHE_NAMESPACE of its own",
                self.key,
                fingerprint,
                ring.fingerprint(),
            )

    def _exchange(self, ours: Holder | None) -> None:
        """Replace our line in the common record, and leave out what is out of date."""
        with closing(self._open_store()) as store:
            for _ in range(_TRIES):
                before, now = self._read(store), self._clock()
                lines = [line for line in self._lines(before, now) if not self._is_ours(line)]
                if ours is not None:
                    lines.insert(0, self._line(ours, now))
                content = _MAGIC + b"".join(line.content for line in _worth_keeping(lines, now))
                entry = None if content == _MAGIC else Entry(content, now + _KEPT)
                if store.compare_and_set(self.key, before, entry):
                    return

    def _is_ours(self, line: _Line) -> bool:
        return line.holder is not None and line.holder.process == self._process

    def _read(self, store: CacheBackend) -> bytes | None:
        entry = store.get(self.key)
        return None if entry is None else entry.payload

    def _lines(self, content: bytes | None, now: float) -> list[_Line]:
        """Return the lines of a record that are ours, by their signature, or no concern of ours."""
        lines = []
        fingerprint, secret = bytes.fromhex(self._ring.now.fingerprint()), self._secret()
        for theirs, seen_at, said, mac, whole in _frames(content):
            if not abs(now - seen_at) <= _KEPT:
                continue
            holder = None
            if theirs == fingerprint and hmac.compare_digest(_sign(secret, whole), mac):
                with suppress(ValueError, TypeError):  # a newer release may say more
                    instance, process, keys, active = ormsgpack.unpackb(said)[:4]
                    holder = Holder(instance, process, tuple(keys), active, seen_at)
            lines.append(_Line(theirs, seen_at, whole + mac, holder))
            if theirs == fingerprint and holder is None:
                lines[-1] = lines[-1]._replace(content=b"")  # made up: not to be kept
        return lines

    def _line(self, holder: Holder, now: float) -> _Line:
        said = ormsgpack.packb([holder.instance, holder.process, list(holder.keys), holder.active])
        fingerprint = bytes.fromhex(self._ring.now.fingerprint())
        whole = _FRAME.pack(fingerprint, now, len(said)) + said
        return _Line(fingerprint, now, whole + _sign(self._secret(), whole), holder)

    def _secret(self) -> bytes:
        return self._ring.now.subkey("key holders", self.key.encode())


def _sign(secret: bytes, whole: bytes) -> bytes:
    return hashlib.blake2b(_MAGIC + whole, digest_size=_MAC, key=secret).digest()


def _frames(content: bytes | None) -> Iterator[tuple[bytes, float, bytes, bytes, bytes]]:
    """Yield the frames of a record: fingerprint, time, what is said, signature, and the whole before it."""
    if content is None or len(content) > _MOST_BYTES or not content.startswith(_MAGIC):
        return
    at = len(_MAGIC)
    while at + _FRAME.size <= len(content):
        fingerprint, seen_at, length = _FRAME.unpack_from(content, at)
        said, end = at + _FRAME.size, at + _FRAME.size + length
        if end + _MAC > len(content):
            return
        yield fingerprint, seen_at, content[said:end], content[end : end + _MAC], content[at:end]
        at = end + _MAC


def _roll_of(lines: list[_Line]) -> Roll:
    return Roll(
        [line.holder for line in lines if line.holder is not None],
        [Stranger(line.fingerprint.hex(), line.seen_at) for line in lines if line.holder is None and line.content],
        sum(not line.content for line in lines),
    )


def _worth_keeping(lines: list[_Line], now: float) -> list[_Line]:
    """Return the lines of who is there, and the newest of each ring, which says whose store this is."""
    newest: dict[bytes, float] = {}
    for line in lines:
        newest[line.fingerprint] = max(newest.get(line.fingerprint, 0.0), line.seen_at)
    kept = [
        line
        for line in lines
        if line.content and (abs(now - line.seen_at) <= FRESH or line.seen_at == newest[line.fingerprint])
    ]
    # Ours first: made-up lines of made-up rings cannot push them out.
    return sorted(kept, key=lambda line: (line.holder is None, -line.seen_at))[:_MOST_LINES]

"""Changes that writers announce, where the server may not tell of them (that needs the right to CLIENT TRACKING).

A message on the namespace's channel is a MAC (16 bytes of HMAC-SHA256), the writer's random id (16), its running number
(8, big-endian), and the stored keys, each behind its length (2). The MAC, under a key of the installation for this
purpose alone, covers the channel and all that follows it, and is verified before anything is read.

Everybody has to announce, or nobody may listen. So those who listen keep a *mark* in the store, a key that expires, and
trust nothing before the same mark was there for ``PATIENCE`` seconds. Whoever writes looks for it once in ``KNOWLEDGE``
seconds, after a write, and goes on announcing for ``MEMORY`` seconds after it was last seen. Where nobody listens this
way, which is everywhere but on such servers, that look is all it costs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from contextlib import suppress
from secrets import token_bytes
from time import monotonic
from typing import Any, Final, NamedTuple

from openalgo_cache.errors import CacheError
from openalgo_cache.locks import make_lock

PATIENCE: Final = 2.0
KNOWLEDGE: Final = 1.0
MEMORY: Final = 5.0
_LATE: Final = 0.5
"""Seconds that a message may come after one with a higher number: threads of a writer overtake each other."""

_MAC: Final = 16
_ID: Final = 16
_NUMBER: Final = 8
_LENGTH: Final = 2
_WRITERS_MOST: Final = 1024
_OVERTAKEN_MOST: Final = 100


MARK_SECONDS: Final = 10
"""How long the mark outlives the last who listens."""


class Names(NamedTuple):
    """Where announcements of a namespace are made."""

    channel: str
    mark: str

    @classmethod
    def of(cls, prefix: str) -> Names:
        """Return those of the namespace whose stored keys begin with ``prefix``; no cache's name begins with ``!``."""
        return cls(f"{prefix}!changes", f"{prefix}!listeners")


class Announcement(NamedTuple):
    """A message that was verified."""

    writer: bytes
    number: int
    keys: list[bytes]


def seal(secret: bytes, channel: str, writer: bytes, number: int, keys: Iterable[str]) -> bytes:
    """Return a message."""
    body = bytearray(writer + number.to_bytes(_NUMBER, "big"))
    for key in keys:
        encoded = key.encode()
        body += len(encoded).to_bytes(_LENGTH, "big") + encoded
    return _mac(secret, channel, bytes(body)) + body


def open_sealed(secret: bytes, channel: str, message: bytes) -> Announcement | None:
    """Return what a message says, or None if it is not of this installation."""
    body = message[_MAC:]
    if len(body) < _ID + _NUMBER or not hmac.compare_digest(_mac(secret, channel, body), message[:_MAC]):
        return None
    keys = []
    place = _ID + _NUMBER
    while place < len(body):
        end = place + _LENGTH + int.from_bytes(body[place : place + _LENGTH], "big")
        keys.append(body[place + _LENGTH : end])
        place = end
    return Announcement(body[:_ID], int.from_bytes(body[_ID : _ID + _NUMBER], "big"), keys)


def _mac(secret: bytes, channel: str, body: bytes) -> bytes:
    return hmac.digest(secret, channel.encode() + b"\0" + body, "sha256")[:_MAC]


class Announcer:
    """The writing side: one for each server and namespace of the process.

    Args:
        prefix: What all stored keys of the namespace begin with.
        secret: Returns the key of the MAC.
    """

    def __init__(self, prefix: str, secret: Callable[[], bytes]) -> None:
        self._names = Names.of(prefix)
        self._secret = secret
        self._lock = make_lock()
        self._look_again = self._announce_until = -1.0
        self.renew()

    def renew(self) -> None:
        """Be another writer, as a forked child is."""
        self._writer, self._number = token_bytes(_ID), 0

    def changed(self, keys: Iterable[str], call: Callable[..., Any]) -> None:
        """Announce that ``keys`` may have been changed by a command that is over, if anybody wants to know.

        Args:
            keys: Stored keys.
            call: Sends a command about a key.
        """
        if not self._is_wanted(call):
            return
        with self._lock:
            self._number += 1
            writer, number = self._writer, self._number
        message = seal(self._secret(), self._names.channel, writer, number, keys)
        with suppress(CacheError):  # this number will be missing when the next one is read
            call(self._names.mark, "PUBLISH", self._names.channel, message)

    def _is_wanted(self, call: Callable[..., Any]) -> bool:
        now = monotonic()
        if now >= self._look_again:
            try:
                marked = call(self._names.mark, "GET", self._names.mark) is not None
            except CacheError:
                marked = True
            self._look_again = now + KNOWLEDGE
            if marked:
                self._announce_until = now + MEMORY
        return now < self._announce_until


class Sequence:
    """The reading side: finds what is missing among the numbers of every writer."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        self._missing: dict[tuple[bytes, int], float] = {}

    def has_gap(self, message: Announcement) -> bool:
        """Take note of a message; return whether there may be others that nobody can wait for."""
        writer, number, _ = message
        last = self._last.get(writer)
        if last is None and len(self._last) >= _WRITERS_MOST:
            self._last.clear()
        if last is None or number > last:
            self._last[writer] = number
        if last is None:  # what it announced before we listened, or just now
            return number != 1
        self._missing.pop((writer, number), None)
        late = monotonic() + _LATE
        if number - last > _OVERTAKEN_MOST:
            return True
        self._missing.update(((writer, between), late) for between in range(last + 1, number))
        return False

    def is_overdue(self) -> bool:
        """Return whether a message is not to be expected any more; that is said once of each."""
        now = monotonic()
        overdue = [one for one, late in self._missing.items() if late <= now]
        for one in overdue:
            del self._missing[one]
        return bool(overdue)

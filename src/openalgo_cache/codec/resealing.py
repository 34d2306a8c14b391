"""Sealing records of any cache anew, by their stored keys alone: nothing has to be known of the cache, or decoded."""

from __future__ import annotations

from typing import Final

from openalgo_cache.codec.envelope import LEASE, PLAIN, parse_extras, parse_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.keys import owner

_ANY_SIZE: Final = 1 << 62
"""Bytes of a body: how large values may be is each cache's own to say."""

_Kind = tuple[str | None, str, int]
"""Namespace, cache and mode of a record."""


class Resealer:
    """Seals records anew.

    A record stays encrypted or signed as it was: which of them a cache accepts is its configuration's to say, and
    nobody without the ring's keys can make either.

    Args:
        opens: The ring that verifies them.
        seals: The ring whose active key seals them; left out, the same.
    """

    __slots__ = ("_opening", "_opens", "_sealing", "_seals")

    def __init__(self, opens: KeyRing, seals: KeyRing | None = None) -> None:
        self._opens, self._seals = opens, seals or opens
        self._opening: dict[_Kind, RingSeal] = {}
        self._sealing: dict[_Kind, RingSeal] = {}

    def reseal(self, stored: str, record: bytes) -> bytes:
        """Return a record that holds what this one holds, sealed with the active key.

        Args:
            stored: The stored key.
            record: The record; none of a plain cache.

        Raises:
            UnreadableRecordError: It cannot be verified.
        """
        head, kind = parse_head(record), _kind_of(stored, record)
        body, _, _ = _seal_of(kind, self._opens, self._opening).open(stored, record)
        extras, lease = parse_extras(record, head), bool(head.flags & LEASE)
        seal = _seal_of(kind, self._seals, self._sealing)
        return seal.seal(stored, body, head.codec, head.created_at, head.expires_at, extras, lease=lease)

    def verifies(self, stored: str, record: bytes) -> bool:
        """Return whether a record is as it was written, under this key; nobody can tell of one that is not sealed."""
        try:
            if parse_head(record).mode != PLAIN:
                _seal_of(_kind_of(stored, record), self._opens, self._opening).open(stored, record)
        except UnreadableRecordError:
            return False
        return True


def _kind_of(stored: str, record: bytes) -> _Kind:
    found = owner(stored)
    if found is None:
        raise UnreadableRecordError("a record lies under a key that is none of a cache's")
    return (*found, parse_head(record).mode)


def _seal_of(kind: _Kind, ring: KeyRing, seals: dict[_Kind, RingSeal]) -> RingSeal:
    seal = seals.get(kind)
    if seal is None:
        namespace, cache, mode = kind
        seal = seals[kind] = RingSeal(ring, namespace or ring.id, cache, mode, max_body_bytes=_ANY_SIZE)
    return seal

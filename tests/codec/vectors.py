"""The golden records: how they are made, and the frozen ones in ``golden_v1.json``.

``python -m tests.codec.vectors`` adds the records of new cases to the file, and never changes one that is there: bytes
on disk are frozen per version of the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from openalgo_cache.codec import compressors, sealing, serializers
from openalgo_cache.codec.envelope import AEAD, MAC, NO_EXTRAS, PLAIN, Extras
from openalgo_cache.codec.keyring import ACTIVE, DECRYPT_ONLY, Key, KeyRing
from openalgo_cache.codec.sealing import RingSeal, Seal, Unsealed
from tests.codec.samples import VALUES

FILE: Final = Path(__file__).with_name("golden_v1.json")

RING_ID: Final = bytes(range(16)).hex()
ROOT: Final = bytes(range(32))
FIRST: Final = Key(0x01020304, ACTIVE, 1_700_000_000.0, bytes(range(32, 64)))
SECOND: Final = Key(0x0A0B0C0D, DECRYPT_ONLY, 1_600_000_000.0, bytes(range(64, 96)))
RING: Final = KeyRing(RING_ID, ROOT, [FIRST, SECOND])
WRITER: Final = bytes(range(0xA0, 0xB0))

CREATED: Final = 1_700_000_000.25
EXPIRES: Final = 1_700_000_300.5
MODES: Final = {"plain": PLAIN, "aead": AEAD, "mac": MAC}

STALE: Final = Extras(stale_until=1_700_003_600.0)
EPOCH: Final = Extras(epoch=b"revision 7")
TAGS: Final = Extras(tags=((bytes(range(16)), 1), (b"\xff" * 16, 2**64 - 1)))
ALL_EXTRAS: Final = Extras(STALE.stale_until, b"", TAGS.tags)


@dataclass(frozen=True, kw_only=True)
class Vector:
    """One golden record and all that went into it. Bytes are in hexadecimal; ``expires`` is None for never.

    Attributes:
        mode: ``plain``, ``aead`` or ``mac``.
        codec: The record's codec byte.
        namespace: Bound into the record (not into plain ones).
        cache: Likewise.
        stored: The stored key, likewise.
        created: Seconds since the epoch.
        expires: Seconds since the epoch.
        key_id: Which key of the ring sealed it.
        writer: The writer's id.
        nonce: The nonce.
        stale_until: An optional field.
        epoch: An optional field.
        tags: An optional field.
        lease: Whether it is a lease.
        value: The name of its value in ``samples.py``; None in a lease.
        body: The body before it was encrypted.
        record: The record.
    """

    mode: str
    codec: int = 1
    namespace: str = RING_ID
    cache: str = "golden"
    stored: str = "openalgo:golden:key"
    created: float = CREATED
    expires: float | None = EXPIRES
    key_id: int = FIRST.id
    writer: str = WRITER.hex()
    nonce: str = ""
    stale_until: float | None = None
    epoch: str | None = None
    tags: tuple[tuple[str, int], ...] = ()
    lease: bool = False
    value: str | None = None
    body: str = ""
    record: str = ""

    @property
    def extras(self) -> Extras:
        """The optional fields."""
        epoch = None if self.epoch is None else bytes.fromhex(self.epoch)
        extras = Extras(self.stale_until, epoch, tuple((bytes.fromhex(tag), number) for tag, number in self.tags))
        return NO_EXTRAS if extras == NO_EXTRAS else extras

    def seal(self, ring: KeyRing = RING) -> Seal:
        """Return the seal that makes and opens the record."""
        mode = MODES[self.mode]
        return Unsealed() if mode == PLAIN else RingSeal(ring, self.namespace, self.cache, mode)

    def pack(self) -> bytes:
        """Make the record anew, by today's code, with the randomness that it was made with."""
        with pytest.MonkeyPatch.context() as patch:
            writer, nonce = bytes.fromhex(self.writer), bytes.fromhex(self.nonce)

            def bytes_of(count: int) -> bytes:
                return writer if count == len(writer) else nonce * (count // len(nonce))

            patch.setattr(sealing, "os", SimpleNamespace(urandom=bytes_of))
            if hasattr(sealing, "secrets"):
                patch.setattr(sealing, "secrets", SimpleNamespace(token_bytes=bytes_of))
            return self.seal(_ring_of(self.key_id)).seal(
                self.stored,
                bytes.fromhex(self.body),
                self.codec,
                self.created,
                float("inf") if self.expires is None else self.expires,
                self.extras,
                lease=self.lease,
            )


def _ring_of(key_id: int) -> KeyRing:
    """Return the ring as it was when the key of an id was the active one."""
    return KeyRing(
        RING_ID,
        ROOT,
        [
            Key(key.id, ACTIVE if key.id == key_id else DECRYPT_ONLY, key.created_at, key.secret)
            for key in (FIRST, SECOND)
        ],
    )


def load() -> dict[str, Vector]:
    """Return the frozen records by name."""
    found = json.loads(FILE.read_text(encoding="ascii"))
    return {name: Vector(**{**one, "tags": tuple(map(tuple, one["tags"]))}) for name, one in found["records"].items()}


def bodies() -> dict[str, bytes]:
    """Return the frozen bodies by the name of their value."""
    found = json.loads(FILE.read_text(encoding="ascii"))
    return {name: bytes.fromhex(body) for name, body in found["bodies"].items()}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and what is special about it for every case that there should be a record of."""
    modes = list(MODES)
    for number, value in enumerate(VALUES):
        mode = modes[number % len(modes)]
        yield f"{mode}: value {value}", {"mode": mode, "value": value}
    for mode in modes:
        flat = {"mode": mode, "value": "dict flat"}
        yield f"{mode}: never expires", {**flat, "expires": None}
        yield f"{mode}: stale_until", {**flat, **_fields(STALE)}
        yield f"{mode}: epoch", {**flat, **_fields(EPOCH)}
        yield f"{mode}: tags", {**flat, **_fields(TAGS)}
        yield f"{mode}: every optional field", {**flat, **_fields(ALL_EXTRAS)}
        yield f"{mode}: lease", {"mode": mode, "lease": True}
        yield f"{mode}: lease with every optional field", {"mode": mode, "lease": True, **_fields(ALL_EXTRAS)}
        yield f"{mode}: zlib", {"mode": mode, "codec": 0x11, "value": "large and repetitive"}
        yield f"{mode}: unicode key", {**flat, "stored": "openalgo:golden:निफ्टी 50|NSE"}
        if mode != "plain":
            yield f"{mode}: older key", {**flat, "key_id": SECOND.id}
            yield (
                f"{mode}: named namespace, blinded key",
                {
                    **flat,
                    "namespace": "desk-7",
                    "cache": "auth",
                    "stored": "openalgo@desk-7:auth:~3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAA",
                },
            )


def _fields(extras: Extras) -> dict[str, Any]:
    return {
        "stale_until": extras.stale_until,
        "epoch": None if extras.epoch is None else extras.epoch.hex(),
        "tags": tuple((tag.hex(), number) for tag, number in extras.tags),
    }


def _vector(name: str, special: dict[str, Any]) -> Vector:
    body = b"" if special.get("value") is None else serializers.dumps(VALUES[special["value"]])
    if special.get("codec", 1) >> 4 == compressors.ZLIB:
        _, body = compressors.compress(body)
    nonce = hashlib.sha256(name.encode()).hexdigest()[:24]
    vector = Vector(**{"nonce": nonce, **special, "body": body.hex()})
    return Vector(**{**asdict(vector), "record": vector.pack().hex()})


def main() -> None:
    """Add what is missing to the file."""
    there: dict[str, Any] = json.loads(FILE.read_text(encoding="ascii")) if FILE.exists() else {}
    all_bodies = {name: serializers.dumps(value).hex() for name, value in VALUES.items()} | there.get("bodies", {})
    records = {name: asdict(_vector(name, special)) for name, special in cases()} | there.get("records", {})
    ring = json.loads(RING.to_json())
    content = {"ring": ring, "bodies": all_bodies, "records": records}
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()

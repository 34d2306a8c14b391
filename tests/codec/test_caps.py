"""What a hostile store may hold, at the level of records: refused by our own error, before it costs memory."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import AEAD, MAC, MAX_VALUE_BYTES, MOST_AROUND_BODY, MSGPACK, Extras
from openalgo_cache.codec.sealing import ForgedRecordError, RingSeal, Seal, Unsealed
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.settings import Settings
from tests.codec import vectors

STORED = "openalgo:quotes:k"
ZLIB = MSGPACK | 1 << 4
SEALS: dict[str, Seal] = {
    "plain": Unsealed(),
    "mac": RingSeal(vectors.RING, "here", "quotes", MAC),
    "aead": RingSeal(vectors.RING, "here", "quotes", AEAD),
}
each_seal = pytest.mark.parametrize("seal", list(SEALS.values()), ids=list(SEALS))

HOSTILE: dict[str, bytes] = {
    "bytes that are announced": b"\xc6\x40\0\0\0abc",
    "a text that is announced": b"\xdb\x40\0\0\0abc",
    "an extension that is announced": b"\xc9\x40\0\0\0\x01abc",
    "an array that is announced": b"\xdd\xff\xff\xff\xff" + b"\x01" * 9,
    "a map that is announced": b"\xdf\xff\xff\xff\xff" + b"\xa1a\x01" * 3,
    "a tuple that is announced": b"\xc7\x06\x01\xdd\xff\xff\xff\xff\x01",
    "arrays in arrays": b"\x91" * 100_000 + b"\x01",
    "maps in maps": b"\x81\xa1a" * 100_000 + b"\x01",
    "maps as keys of maps": b"\x81" * 100_000 + b"\x01\x01",
    "a key that is no text": b"\x81\x01\x01",
    "an extension that is not known": b"\xc7\x01\x63\x01",
    "MessagePack's own timestamp": b"\xd6\xff\0\0\0\x01",
    "nothing": b"",
}


def peak(seal: Seal, record: bytes, *readings: str) -> int:
    """Return the most memory that any reading of a record that is refused takes besides it, in bytes."""
    codec = Codec(seal)
    tracemalloc.start()
    try:
        for read in (getattr(codec, reading) for reading in (*readings, "decode", "admit")):
            with pytest.raises(UnreadableRecordError) as refused:
                read(STORED, record)
            assert not isinstance(refused.value, ForgedRecordError)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@each_seal
def test_a_record_that_is_too_long_is_not_even_copied(seal: Seal) -> None:
    """Whether it begins like one of ours, has optional fields, or is sealed by a key that is not known."""
    usual = seal.seal(STORED, b"\x01", MSGPACK, 0.0, 9e9)
    for start in (usual, seal.seal(STORED, b"\x01", MSGPACK, 0.0, 9e9, Extras(epoch=b"i\1")), usual[:24]):
        assert peak(seal, start + bytes(50_000_000), "contents_of") < 100_000


@each_seal
def test_the_longest_record_is_opened(seal: Seal) -> None:
    """With every field that there is: one byte more in the body, and it is not."""
    extras = Extras(9e9, bytes(255), tuple((bytes(16), number) for number in range(255)))
    body = b"\xc6" + (MAX_VALUE_BYTES - 5).to_bytes(4, "big") + bytes(MAX_VALUE_BYTES - 5)
    record = seal.seal(STORED, body, MSGPACK, 0.0, 9e9, extras)
    assert len(record) <= MAX_VALUE_BYTES + MOST_AROUND_BODY
    assert Codec(seal).decode(STORED, record)[0] == bytes(MAX_VALUE_BYTES - 5)
    with pytest.raises(UnreadableRecordError, match="CACHE_MAX_VALUE_BYTES"):
        seal.open(STORED, record + bytes(100))


@each_seal
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused(seal: Seal, name: str) -> None:
    """Under a seal as well, where only a holder of the key can put them; of nothing that they announce room is made."""
    assert peak(seal, seal.seal(STORED, HOSTILE[name], MSGPACK, 0.0, 9e9)) < 3_000_000


@each_seal
def test_a_bomb_does_not_unfold(seal: Seal) -> None:
    """Ten gigabytes in ten megabytes are too long, a hundred megabytes in a hundred kilobytes too large."""
    unfold = zlib.compressobj(9)
    bomb = b"".join(unfold.compress(bytes(1 << 20)) for _ in range(100)) + unfold.flush()
    assert peak(seal, seal.seal(STORED, bomb, ZLIB, 0.0, 9e9), "contents_of") < 4 * MAX_VALUE_BYTES


def test_the_setting_has_the_default_of_the_format() -> None:
    """One number for both."""
    assert Settings().cache_max_value_bytes == MAX_VALUE_BYTES

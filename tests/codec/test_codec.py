"""The codec: limits, compression, and what it lets lie in memory."""

from __future__ import annotations

import random
import zlib
from datetime import date
from typing import Any

import pytest

from openalgo_cache.codec import compressors
from openalgo_cache.codec.codec import Codec, Terms
from openalgo_cache.codec.envelope import AEAD, MAC, MSGPACK, PLAIN
from openalgo_cache.codec.sealing import RingSeal, Seal, Unsealed
from openalgo_cache.codec.serializers import dumps
from openalgo_cache.errors import UnreadableRecordError, ValueTooLargeError
from tests.codec import vectors

STORED = "openalgo:quotes:k"
SEALS: dict[str, Seal] = {
    "plain": Unsealed(),
    "mac": RingSeal(vectors.RING, "here", "quotes", MAC),
    "aead": RingSeal(vectors.RING, "here", "quotes", AEAD),
}
each_seal = pytest.mark.parametrize("seal", list(SEALS.values()), ids=list(SEALS))


@each_seal
@pytest.mark.parametrize("compress", [False, True])
def test_a_value_of_exactly_the_limit_is_taken_and_given_back(seal: Seal, compress: bool) -> None:
    """The limit itself is allowed, one byte more is not; what was taken can be read, compressed or not."""
    value = "x" * 9_997
    codec = Codec(seal, compress=compress, max_value_bytes=len(dumps(value)))
    record = codec.encode(STORED, value, 0.0, None)
    assert codec.decode(STORED, record)[0] == value
    with pytest.raises(ValueTooLargeError, match=r"10,001 bytes.*at most 10,000"):
        codec.encode(STORED, value + "x", 0.0, None)


def test_compression_is_only_used_where_it_saves() -> None:
    """Small bodies, and those that do not shrink, stay as they are."""
    codec = Codec(Unsealed(), compress=True)
    assert codec.encode(STORED, "x" * 2044, 0.0, None).endswith(b"x" * 2044)
    assert len(codec.encode(STORED, "x" * 2045, 0.0, None)) < 200
    kind, smaller = compressors.compress(b"x" * 2048)
    assert kind == compressors.ZLIB
    assert compressors.decompress(kind, smaller, 2048) == b"x" * 2048
    noise = random.Random(1).randbytes(4000)
    assert compressors.compress(noise) == (compressors.NONE, noise)


@pytest.mark.parametrize(
    "compressor, body",
    [
        (compressors.ZLIB, b""),
        (compressors.ZLIB, b"no zlib stream"),
        (compressors.ZLIB, zlib.compress(b"x" * 100)[:-1]),
        (compressors.ZLIB, zlib.compress(b"x" * 100) + b"more"),
        (compressors.ZLIB, zlib.compress(b"x" * 101)),
        (compressors.ZLIB, zlib.compress(b"x" * 10_000_000)),
        (2, b"x"),
        (15, b"x"),
    ],
)
def test_a_body_that_does_not_unpack_to_a_bearable_size_is_refused(compressor: int, body: bytes) -> None:
    """Damaged, cut, longer than it says, larger than allowed, or of a compressor to come."""
    with pytest.raises(UnreadableRecordError):
        compressors.decompress(compressor, body, 100)


@each_seal
@pytest.mark.parametrize("codec_byte", [0x00, 0x02, 0x0F, 0x21, 0xF1])
def test_a_serialiser_or_compressor_to_come_is_unreadable(seal: Seal, codec_byte: int) -> None:
    """A record of a newer release is not guessed at, however well it is sealed."""
    record = seal.seal(STORED, b"\x2a", codec_byte, 0.0, 1e9)
    for read in (Codec(seal).decode, Codec(seal).admit):
        with pytest.raises(UnreadableRecordError):
            read(STORED, record)


def test_encrypted_lengths_tell_nothing_of_the_content() -> None:
    """Without compression, what is as long when serialised is as long when encrypted."""
    codec = Codec(SEALS["aead"])
    assert len(codec.encode(STORED, "a" * 5000, 0.0, None)) == len(codec.encode(STORED, "abcde" * 1000, 0.0, None))


@each_seal
@pytest.mark.parametrize(
    "value",
    ["text", 7, None, b"bytes", date(2024, 1, 1), {"flat": 1}, [1, 2], {1, 2}, {"nested": [{"deep": 1}]}, (1, [2])],
)
def test_what_is_admitted_to_memory_gives_the_value_again_and_again(seal: Seal, value: Any) -> None:
    """Every read of what lies in memory is equal to the value, and a container is the reader's own copy."""
    codec = Codec(seal)
    record = codec.encode(STORED, value, 0.0, 1e9)
    (first, expires_at, terms), admitted = codec.admit(STORED, record)
    assert (first, expires_at, terms) == (value, 1e9, None)
    assert admitted is not None
    seen = [first]
    for _ in range(3):
        again = admitted.held if admitted.load is None else admitted.load(admitted.held)
        assert again == value
        assert type(again) is type(value)
        if isinstance(value, dict | list | set):
            assert all(again is not one for one in seen)
            again.clear()  # what a reader does to its copy is nobody else's business
            seen.append(again)


def test_only_ciphertext_of_an_encrypted_value_lies_in_memory() -> None:
    """What is held of an encrypted record has the secret in no form."""
    codec = Codec(SEALS["aead"])
    _, admitted = codec.admit(STORED, codec.encode(STORED, {"token": "planted-secret"}, 0.0, None))
    assert admitted is not None
    assert b"planted-secret" not in b"".join(part for part in admitted.held if isinstance(part, bytes))
    assert "planted-secret" not in repr(admitted)


@each_seal
def test_a_lease_is_no_value(seal: Seal) -> None:
    """A reader of a lease sees that somebody loads, gets no value, and keeps nothing."""
    codec = Codec(seal)
    record = codec.encode_lease(STORED, 0.0, 30.0)
    lease = None, 30.0, Terms(is_lease=True, stale_until=30.0, tags=(), epoch=None)
    assert codec.decode(STORED, record) == lease
    assert codec.admit(STORED, record) == (lease, None)
    assert codec.verifies(STORED, record)


def test_the_first_bytes_say_what_a_record_is() -> None:
    """Magic, version, mode and codec stand where other programs can look for them."""
    for name, mode in (("plain", PLAIN), ("aead", AEAD), ("mac", MAC)):
        assert Codec(SEALS[name]).encode(STORED, 1, 0.0, None)[:6] == b"OAC\x01" + bytes([mode, MSGPACK])

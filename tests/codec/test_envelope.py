"""The envelope and the seals: whatever bytes come in, only UnreadableRecordError comes out."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import (
    AEAD,
    HAS_EPOCH,
    HAS_STALE_UNTIL,
    HAS_TAGS,
    MAC,
    MSGPACK,
    PLAIN,
    pack_head,
    parse_extras,
    parse_head,
)
from openalgo_cache.codec.keyring import ACTIVE, Key, KeyRing
from openalgo_cache.codec.sealing import ForgedRecordError, RingSeal, Seal, Unsealed
from openalgo_cache.errors import UnreadableRecordError
from tests.codec import vectors

GOLDEN = vectors.load()
STORED = "openalgo:golden:key"
SEALS: dict[str, Seal] = {
    "plain": Unsealed(),
    "aead": RingSeal(vectors.RING, vectors.RING_ID, "golden", AEAD),
    "mac": RingSeal(vectors.RING, vectors.RING_ID, "golden", MAC),
    "either": RingSeal(vectors.RING, vectors.RING_ID, "golden", MAC, frozenset({AEAD, MAC})),
}
CODECS = {name: Codec(seal) for name, seal in SEALS.items()}
golden = pytest.mark.parametrize("name", list(GOLDEN))


def reads(record: bytes) -> list[Callable[[], object]]:
    """Return every way in which the codec looks at a record."""
    return [
        look
        for codec in CODECS.values()
        for look in (
            lambda codec=codec: codec.decode(STORED, record),
            lambda codec=codec: codec.admit(STORED, record),
            lambda codec=codec: codec.verifies(STORED, record),
        )
    ]


def only_our_error(record: bytes) -> None:
    """Look at a record in every way; anything but UnreadableRecordError fails the test."""
    for look in reads(record):
        with suppress(UnreadableRecordError):
            look()
    try:
        head = parse_head(record)
    except UnreadableRecordError:
        return
    extras = parse_extras(record, head)
    assert head.size <= len(record)
    assert (extras.stale_until is not None) == bool(head.flags & HAS_STALE_UNTIL)
    assert (extras.epoch is not None) == bool(head.flags & HAS_EPOCH)
    assert not extras.tags or head.flags & HAS_TAGS


@pytest.mark.parametrize("flag", [16, 32, 256, 32_768])
def test_a_flag_to_come_is_unreadable(flag: int) -> None:
    """It may say that a record must not be served to us."""
    record = pack_head(PLAIN, MSGPACK, 0.0, 1.0) + b"\xc0"
    assert parse_head(record).flags == 0
    with pytest.raises(UnreadableRecordError):
        parse_head(record[:6] + flag.to_bytes(2, "big") + record[8:])


@given(st.binary(max_size=200))
def test_random_bytes(record: bytes) -> None:
    """Noise is unreadable, and no more than that."""
    only_our_error(record)


@given(
    mode=st.integers(0, 3),
    codec=st.integers(0, 255),
    flags=st.integers(0, 31),
    times=st.binary(min_size=16, max_size=16),
    rest=st.binary(max_size=200),
)
@settings(max_examples=300)
def test_random_bytes_behind_a_valid_start(mode: int, codec: int, flags: int, times: bytes, rest: bytes) -> None:
    """The same for bytes that begin as a record does, whatever mode, codec and flags they claim."""
    only_our_error(b"OAC\x01" + bytes([mode, codec]) + flags.to_bytes(2, "big") + times + rest)


@given(st.data())
@settings(max_examples=300)
def test_mutated_records(data: st.DataObject) -> None:
    """The same for golden records in which bytes were changed, cut out, doubled or appended."""
    record = bytearray.fromhex(GOLDEN[data.draw(st.sampled_from(list(GOLDEN)))].record)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(record)))
        match data.draw(st.sampled_from(["change", "cut", "double", "append", "truncate"])):
            case "change" if at < len(record):
                record[at] = data.draw(st.integers(0, 255))
            case "cut":
                del record[at : at + data.draw(st.integers(1, 40))]
            case "double":
                record[at:at] = record[at : at + data.draw(st.integers(1, 40))]
            case "append":
                record += data.draw(st.binary(max_size=40))
            case "truncate":
                del record[at:]
    only_our_error(bytes(record))


@golden
def test_every_single_bit_counts(name: str) -> None:
    """Of a sealed record, no bit can be flipped: none of the results is served, under its own key and seal."""
    vector = GOLDEN[name]
    record = bytes.fromhex(vector.record)
    if vector.mode == "plain":
        # Nothing protects a plain record: what can be promised is only that nothing else happens.
        for bit in range(len(record) * 8):
            only_our_error(flipped(record, bit))
        return
    seal = vector.seal()
    codec = Codec(seal)
    for bit in range(len(record) * 8):
        with pytest.raises(UnreadableRecordError):
            codec.admit(vector.stored, flipped(record, bit))
        with pytest.raises(UnreadableRecordError) as caught:
            codec.decode(vector.stored, flipped(record, bit))
        assert not codec.verifies(vector.stored, flipped(record, bit))
        # Key id: nobody knows whose the record is. Creation, expiry, writer, nonce, body, tag: ours, and forged.
        if 24 <= bit // 8 < 28:
            assert type(caught.value) is UnreadableRecordError
        elif bit // 8 >= 8 and not vector.extras.epoch and not vector.extras.tags:
            assert type(caught.value) is ForgedRecordError


def flipped(record: bytes, bit: int) -> bytes:
    """Return a record with one bit the other way round."""
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@golden
def test_no_shorter_and_no_longer_record_is_served(name: str) -> None:
    """Each truncation, and each appended byte, is refused where there is a seal."""
    vector = GOLDEN[name]
    record = bytes.fromhex(vector.record)
    for other in [record[:size] for size in range(len(record))] + [record + b"\0", record + record]:
        only_our_error(other)
        if vector.mode != "plain":
            with pytest.raises(UnreadableRecordError):
                vector.seal().open(vector.stored, other)


@pytest.mark.parametrize(
    "demanded, offered",
    [("aead", "mac"), ("aead", "plain"), ("mac", "aead"), ("mac", "plain"), ("plain", "mac"), ("plain", "aead")],
)
def test_the_configuration_decides_the_scheme(demanded: str, offered: str) -> None:
    """A record of another mode is unreadable, never taken at its own word; it is not called forged, so it is kept."""
    record = bytes.fromhex(GOLDEN[f"{offered}: never expires"].record)
    for read in (CODECS[demanded].decode, CODECS[demanded].admit):
        with pytest.raises(UnreadableRecordError) as caught:
            read(STORED, record)
        assert type(caught.value) is UnreadableRecordError


def test_with_encryption_turned_off_both_seals_are_read() -> None:
    """What was encrypted before CACHE_ENCRYPTION_ENABLED=false is still served, and what is plain is still not."""
    for mode in ("aead", "mac"):
        record = bytes.fromhex(GOLDEN[f"{mode}: never expires"].record)
        assert CODECS["either"].decode(STORED, record)[0]["token"] == "abc"
    with pytest.raises(UnreadableRecordError):
        CODECS["either"].decode(STORED, bytes.fromhex(GOLDEN["plain: never expires"].record))


@pytest.mark.parametrize("mode", ["aead", "mac"])
def test_a_record_of_an_unknown_key_is_not_called_forged(mode: str) -> None:
    """A key id that is not in the ring: unreadable, but perhaps honest, so not a reason to delete it."""
    vector = GOLDEN[f"{mode}: never expires"]
    other = KeyRing(vectors.RING_ID, vectors.ROOT, [Key(7, ACTIVE, 0.0, bytes(32))])
    with pytest.raises(UnreadableRecordError, match="not in the key ring") as caught:
        vector.seal(other).open(STORED, bytes.fromhex(vector.record))
    assert type(caught.value) is UnreadableRecordError


@pytest.mark.parametrize("seal", [SEALS["aead"], SEALS["mac"]], ids=["aead", "mac"])
def test_expiry_and_optional_fields_are_authenticated(seal: RingSeal) -> None:
    """A record that is given a longer life, or loses its flags, does not verify."""
    record = seal.seal(STORED, b"\x2a", 1, 100.0, 200.0)
    for at, forged in ((8, 150.0), (16, 1e9), (16, math.inf)):
        changed = bytearray(record)
        changed[at : at + 8] = struct.pack(">d", forged)
        with pytest.raises(ForgedRecordError):
            seal.open(STORED, bytes(changed))


def test_no_two_records_have_the_same_nonce() -> None:
    """The same value sealed again is another record: nothing tells that it did not change."""
    records = {SEALS["aead"].seal(STORED, b"\x2a", 1, 100.0, 200.0) for _ in range(1000)}
    assert len({record[44:56] for record in records}) == 1000
    assert len({record[56:] for record in records}) == 1000


def test_a_writer_is_renewed_before_its_nonces_become_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many records a new writer id, and so a new subkey, begins; older records stay readable."""
    seal = RingSeal(vectors.RING, vectors.RING_ID, "golden", MAC)
    monkeypatch.setattr("openalgo_cache.codec.sealing._RECORDS_PER_WRITER", 3)
    records = [seal.seal(STORED, b"\x2a", 1, 100.0, 200.0) for _ in range(7)]
    writers = [record[28:44] for record in records]
    assert [writers.index(writer) for writer in writers] == [0, 0, 0, 3, 3, 3, 6]
    assert {seal.open(STORED, record)[0] for record in records} == {b"\x2a"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_another_writer() -> None:
    """Parent and child never share a subkey, so their nonces cannot meet under one key."""
    seal = RingSeal(vectors.RING, vectors.RING_ID, "golden", MAC)
    before = seal.seal(STORED, b"\x2a", 1, 100.0, 200.0)[28:44]
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, seal.seal(STORED, b"\x2a", 1, 100.0, 200.0)[28:44])
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) != before
    assert seal.seal(STORED, b"\x2a", 1, 100.0, 200.0)[28:44] == before
    os.close(reader)
    os.close(writer)


def test_who_floods_the_store_with_writer_ids_costs_no_memory() -> None:
    """Subkeys are derived for each writer id that a record names; only so many are remembered."""
    seal = RingSeal(vectors.RING, vectors.RING_ID, "golden", MAC)
    record = seal.seal(STORED, b"\x2a", 1, 100.0, 200.0)
    for number in range(1500):
        changed = bytearray(record)
        changed[28:44] = number.to_bytes(16, "big")
        with pytest.raises(ForgedRecordError):
            seal.open(STORED, bytes(changed))
    assert sum(map(len, seal._subkeys.values())) <= 512
    assert seal.open(STORED, record)[0] == b"\x2a"

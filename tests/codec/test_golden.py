"""The record format, version 1, is frozen: today's code reads yesterday's records, and writes the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.codec import envelope, serializers
from openalgo_cache.codec.codec import Codec, Terms
from openalgo_cache.codec.envelope import NO_EXTRAS, PLAIN, parse_extras, parse_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.codec.sealing import Unsealed
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.keys import BlindedKeyspace, Key, Keyspace
from openalgo_cache.tags import Tags
from tests.codec import vectors
from tests.codec.samples import VALUES, same
from tests.codec.vectors import MODES, Vector

STORED_KEYS: dict[Key, tuple[str, str]] = {
    "user_123": ("user_123", "~5jLetkxQN0P9b9a_UbyBjLKszTs4xKbW"),
    "M&M|NSE": ("M&M|NSE", "~OBZBy1cBxgOpK77BPmejF7a7lDTf5qsD"),
    "50% *[a]{b}?": ("50%25 %2A%5Ba%5D%7Bb%7D%3F", "~vxDl02zDsiHzqqSspOj3q1RqWGx58hpj"),
    "!x": ("!s!x", "~9UM7O_al__MXH2hYpQJJ8_NyTOEnyTg1"),
    b"\x00\xff": ("!x00ff", "~PTSoVzJ6SqxhUgVGHu38nmW72dJt1Yxn"),
    -7: ("!i-7", "~DrJhACZyfDUju89INu4LjljcaCiVRs8K"),
    True: ("!b1", "~-vw15DkMTCiKL05BouzY2UKxDODcqI1q"),
    ("a", 1, (b"z", None)): ("!t1:a3:!i112:!t4:!x7a2:!n", "~7ZBb6hIcb49gE7bOh1idQve8L5k2fMqX"),
    "निफ्टी": ("निफ्टी", "~h4EuXRHyNmpfBbJeLYAHQq5DSqwJYi1J"),
}

GOLDEN = vectors.load()
BODIES = vectors.bodies()

each_body = pytest.mark.parametrize("name", list(BODIES))


def each(records: dict[str, Vector]) -> pytest.MarkDecorator:
    """Return a decorator that runs a test once for each of some records."""
    return pytest.mark.parametrize("vector", list(records.values()), ids=list(records))


def test_the_file_has_a_record_of_every_case() -> None:
    """Who adds a type or a field adds golden bytes for it: ``python -m tests.codec.vectors``."""
    assert set(BODIES) == set(VALUES)
    assert set(GOLDEN) == {name for name, _ in vectors.cases()}
    assert {vector.mode for vector in GOLDEN.values()} == set(MODES)


@each_body
def test_a_frozen_body_is_read(name: str) -> None:
    """The bytes of every type still mean the same value."""
    assert same(serializers.loads(BODIES[name]), VALUES[name])


@each_body
def test_a_value_is_written_as_it_was(name: str) -> None:
    """The value of every type still gets the same bytes."""
    assert serializers.dumps(VALUES[name]) == BODIES[name]


@each(GOLDEN)
def test_a_frozen_record_is_written_as_it_was(vector: Vector) -> None:
    """With the same randomness and times, sealing gives the same bytes."""
    assert vector.pack().hex() == vector.record


@each(GOLDEN)
def test_a_frozen_record_is_opened(vector: Vector) -> None:
    """The seal verifies, and the head, the optional fields and the body are what went in."""
    record = bytes.fromhex(vector.record)
    assert vector.seal().open(vector.stored, record)[0] == bytes.fromhex(vector.body)
    head = parse_head(record)
    assert head.mode == MODES[vector.mode]
    assert head.codec == vector.codec
    assert head.created_at == vector.created
    assert head.expires_at == (float("inf") if vector.expires is None else vector.expires)
    assert bool(head.flags & envelope.LEASE) == vector.lease
    assert parse_extras(record, head) == vector.extras
    if head.mode != PLAIN:
        assert (head.key_id, head.writer.hex(), head.nonce.hex()) == (vector.key_id, vector.writer, vector.nonce)


@each(GOLDEN)
def test_a_frozen_record_is_decoded(vector: Vector) -> None:
    """The codec returns value, sealed expiry and terms, and what it admits to memory becomes the same value."""
    codec, record = Codec(vector.seal()), bytes.fromhex(vector.record)
    value, expires_at, terms = codec.decode(vector.stored, record)
    assert expires_at == (float("inf") if vector.expires is None else vector.expires)
    if vector.lease or vector.extras != NO_EXTRAS:
        stale_until = expires_at if vector.extras.stale_until is None else vector.extras.stale_until
        assert terms == Terms(vector.lease, stale_until, vector.extras.tags, vector.extras.epoch)
    else:
        assert terms is None
    (value_, _, terms_), admitted = codec.admit(vector.stored, record)
    assert terms_ == terms
    if vector.value is None:
        assert value is None
        assert admitted is None
        return
    assert admitted is not None
    held = admitted.held if admitted.load is None else admitted.load(admitted.held)
    for one in (value, value_, held):
        assert same(one, VALUES[vector.value])


@each({name: one for name, one in GOLDEN.items() if one.mode == "aead" and len(one.body) >= 16})
def test_nothing_of_a_golden_value_lies_in_an_encrypted_record(vector: Vector) -> None:
    """What is encrypted does not show in the record, nor in what may lie in memory."""
    body = bytes.fromhex(vector.body)
    assert body not in bytes.fromhex(vector.record)
    _, admitted = Codec(vector.seal()).admit(vector.stored, bytes.fromhex(vector.record))
    assert admitted is not None
    assert body.hex() not in repr([part.hex() if isinstance(part, bytes) else "" for part in admitted.held])


@each({name: one for name, one in GOLDEN.items() if one.mode != "plain"})
def test_a_record_opens_in_its_own_place_only(vector: Vector) -> None:
    """Another key, cache, namespace or ring: the record does not verify there."""
    record = bytes.fromhex(vector.record)
    other_root = KeyRing(vectors.RING_ID, vectors.ROOT, [replace(vectors.FIRST, secret=bytes(32))])
    elsewhere = [
        (vector.seal(), vector.stored + "2"),
        (replace(vector, cache="golden2").seal(), vector.stored),
        (replace(vector, namespace="other").seal(), vector.stored),
        (vector.seal(other_root), vector.stored),
        # The parts of the context are told apart by their lengths, not by what stands between them.
        (replace(vector, cache=vector.cache + vector.stored[:1]).seal(), vector.stored[1:]),
    ]
    for seal, stored in elsewhere:
        with pytest.raises(UnreadableRecordError):
            seal.open(stored, record)


def test_the_ring_of_the_golden_records_is_read(tmp_path: Path) -> None:
    """The key ring's own file is frozen, too."""
    path = tmp_path / "ring"
    path.touch(mode=0o600)
    path.write_text(json.dumps(json.loads(vectors.FILE.read_text(encoding="ascii"))["ring"]))
    ring = RingFile(path).load()
    assert (ring.id, ring.active.id, vectors.SECOND.id in ring) == (vectors.RING_ID, vectors.FIRST.id, True)
    assert ring.fingerprint() == vectors.RING.fingerprint() == "787ba6ff27132462"
    assert KeyRing.parse(ring.to_json()).keys == ring.keys


def test_tags_are_hashed_as_they_were() -> None:
    """An entry is bound to the ids of its tags, and their generations lie under them."""
    keyspace, codec = Keyspace("openalgo", "auth"), Codec(Unsealed())
    secrets = {"plain": b"", "sealed": vectors.RING.subkey("tag", b"auth")}
    ids = {
        kind: Tags(keyspace, codec, MemoryBackend(), float, partial(bytes, secret), strict=False).ids(["user:123"])[0]
        for kind, secret in secrets.items()
    }
    assert {kind: tag.hex() for kind, tag in ids.items()} == {
        "plain": "2f67918399d2d3551998794c4b3601c7",
        "sealed": "de31abffa309eaaf117e41f05054f040",
    }
    assert keyspace.of_tag(ids["sealed"]) == f"openalgo:auth:!g{ids['sealed'].hex()}"


def test_stored_keys_are_written_as_they_were() -> None:
    """A record is found under its stored key, and bound to it: the form is frozen, blinded or not."""
    keyspace = Keyspace("openalgo", "auth")
    blinded = BlindedKeyspace("openalgo", "auth", None, vectors.RING.subkey("blind", b"auth"))
    stored = {key: (keyspace.stored(key), blinded.stored(key)) for key in STORED_KEYS}
    assert stored == {
        key: (f"openalgo:auth:{text}", f"openalgo:auth:{hashed}") for key, (text, hashed) in STORED_KEYS.items()
    }
    assert {key: keyspace.original(text) for key, (text, _) in stored.items()} == {key: key for key in STORED_KEYS}

"""What lies in stores and folders: records, keys, exports, journals, key rings, small files, snapshots."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import ormsgpack

from openalgo_cache import keys
from openalgo_cache.audit import line
from openalgo_cache.audit.event import Event
from openalgo_cache.audit.reading import lines_of
from openalgo_cache.audit.statements import RETENTION
from openalgo_cache.audit.verification import Verification
from openalgo_cache.audit.writer import MENDED, START, STOP
from openalgo_cache.backends.base import Entry
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.codec import envelope, keyring, serializers
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import AEAD, MAC, PLAIN
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.codec.sealing import RingSeal, Unsealed
from openalgo_cache.errors import (
    BackendUnavailableError,
    InvalidKeyError,
    KeyRingError,
    UnreadableExportError,
    UnreadableRecordError,
    UnsupportedValueError,
)
from openalgo_cache.journal import Journal, look
from openalgo_cache.keyholders import KeyHolders
from openalgo_cache.selection.record import RECORD_NAME, DamagedRecordError, read_record
from openalgo_cache.symbols import snapshot
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.sharing import Sharing
from openalgo_cache.transfer import exportfile
from tests.codec.samples import same
from tests.codec.vectors import RING
from tests.security.fuzz.judging import Run, Target, split

_STORED: Final = "openalgo:quotes:key"
_MOST: Final = 1 << 20


def _check_value(value: object) -> None:
    """A value that was decoded can be stored again, and is the same then; or it is refused."""
    try:
        data = serializers.dumps(value)
    except UnsupportedValueError:
        return
    again = serializers.loads(data)
    if not same(again, value) and serializers.dumps(again) != data:  # a nan in an instance equals nothing
        raise AssertionError("a decoded value changes when it is stored again")


@contextmanager
def _records(_: Path) -> Iterator[Run]:
    plain = Unsealed()
    signed, encrypted = (RingSeal(RING, "space", "quotes", mode) for mode in (MAC, AEAD))
    codecs = {seal: Codec(seal) for seal in (plain, signed, encrypted)}

    def run(data: bytes) -> None:
        way, data = split(data, 8)
        seal = (plain, signed, encrypted)[way % 3]
        codec = codecs[seal]
        record = data
        if way == 3:  # a plain record is a head that anybody can make
            record = envelope.pack_head(PLAIN, 1, 1.0, math.inf) + data
        elif way == 4:  # what a holder of the key could have written
            record = signed.seal(_STORED, data, 0x01, 1.0, math.inf)
        elif way == 5:
            record = encrypted.seal(_STORED, data, 0x01, 1.0, math.inf)
        elif way == 6:
            record = plain.seal(_STORED, data, 0x11, 1.0, math.inf)
        elif way == 7:
            record, codec = signed.seal(_STORED, zlib.compress(data), 0x11, 1.0, math.inf), codecs[signed]
        if way in {1, 2} and codec.verifies(_STORED, record):
            raise AssertionError("a record that nobody sealed verifies")
        envelope.tags_of(record)
        with suppress(UnreadableRecordError):
            codec.contents_of(_STORED, record)
        with suppress(UnreadableRecordError):
            codec.admit(_STORED, record)
        value, _, _ = codec.decode(_STORED, record)
        _check_value(value)

    yield run


@contextmanager
def _keys(_: Path) -> Iterator[Run]:
    space = keys.Keyspace("openalgo", "quotes")

    def run(data: bytes) -> None:
        text = data.decode(errors="surrogateescape")
        if keys.unescape(keys.escape(text)) != text:
            raise AssertionError("escaping is not undone")
        with suppress(InvalidKeyError):
            key = keys.parse(keys.unescape(text))
            with suppress(InvalidKeyError):  # longer than any key may be, say
                if space.original(space.stored(key)) != key:
                    raise AssertionError("a key does not come back")
        if space.original(space.stored(text)) != text:
            raise AssertionError("a str does not come back")

    yield run


@contextmanager
def _journals(folder: Path) -> Iterator[Run]:
    prefix, number = "openalgo:auth:", 0
    (folder / "genuine").mkdir()
    first = Journal(folder / "genuine" / "j", RING, prefix, collapses=True)
    first.add([prefix + "revoked"], 1.0)
    genuine = first.path.read_bytes()

    def run(data: bytes) -> None:
        nonlocal number
        way, data = split(data, 4)
        number += 1
        path = folder / f"{number}.deletes"
        if way == 1:  # in the place of slots
            data = genuine[:4096] + data
        elif way == 2:
            data = (genuine[:4096] + data).ljust(len(genuine), b"\0")[: len(genuine)]
        elif way == 3 and len(data) > 2:
            at = int.from_bytes(data[:2], "big") % len(genuine)
            data = (genuine[:at] + data[2:] + genuine[at + len(data) - 2 :])[: len(genuine)]
        path.write_bytes(data)
        path.chmod(0o600)
        look(path, RING, prefix)
        for collapses in (True, False):
            journal = Journal(path, RING, prefix, collapses=collapses)
            journal.withholds(prefix + "other")
            journal.add([prefix + "x"], 2.0)
            if not journal.withholds(prefix + "x"):
                raise AssertionError("what was noted is not withheld")
            journal.settle(journal.entries)
            journal.refresh()
        path.unlink()
        path.with_name(path.name + ".lock").unlink(missing_ok=True)

    yield run


@contextmanager
def _key_rings(folder: Path) -> Iterator[Run]:
    path = folder / ".cache_key"

    def run(data: bytes) -> None:
        way, data = split(data, 2)
        if way == 1:  # with the checksum that belongs to it
            with suppress(ValueError, RecursionError, TypeError):
                ring = json.loads(data)
                data = json.dumps({**ring, "check": keyring._checksum(ring)}).encode()
        path.write_bytes(data)
        path.chmod(0o600)
        ring = RingFile(path).load()
        repr(ring)
        if KeyRing._of_json(json.loads(ring.to_json())).fingerprint() != ring.fingerprint():
            raise AssertionError("a ring changes when it is stored again")

    yield run


@contextmanager
def _exports(folder: Path) -> Iterator[Run]:
    def run(data: bytes) -> None:
        way, data = split(data, 2)
        if way == 1:  # parts that a holder of the key could have written: length, kind, content, again and again
            out = io.BytesIO()
            writer = exportfile.Writer(out, RING, "space", 1.0)
            while len(data) > 2:
                size, kind = data[0], data[1] % 5
                packed, data = data[2 : 2 + size], data[2 + size :]
                with suppress(ValueError):
                    writer._write(kind, ormsgpack.unpackb(packed))
            writer.end()
            data = out.getvalue()
        reader = exportfile.Reader(io.BytesIO(data), RING)
        for part in reader.frames():
            repr(type(part))

    del folder
    yield run


@contextmanager
def _small_files(folder: Path) -> Iterator[Run]:
    where = MasterFiles(folder / "cache")
    sharing = Sharing(where, None, lambda: 0.0, lambda: None)

    def run(data: bytes) -> None:
        way, data = split(data, 3)
        if way == 0:
            (folder / RECORD_NAME).write_bytes(data)
            read_record(folder)
        elif way == 1:
            where._pointer.write_bytes(data)
            number = where.current()
            if number is not None and len(number) != 32:
                raise AssertionError("a pointer leads out of the folder")
        else:
            where.seen.write_bytes(data)
            sharing._seen()

    yield run


@contextmanager
def _snapshots(_: Path) -> Iterator[Run]:
    def run(data: bytes) -> None:
        way, data = split(data, 2)
        received = snapshot.unpack(zlib.compress(data) if way else data)
        del received

    yield run


@contextmanager
def _audit_logs(folder: Path) -> Iterator[Run]:
    path, operations = folder / "cache_audit-2026-11-24.log", (START, STOP, MENDED, RETENTION, "GET")
    key = line.chain_key(RING, "space", "0" * 32)

    def run(data: bytes) -> None:
        way, data = split(data, 1 + len(operations))
        content = data
        if way:  # what a process of ours wrote, of whatever it was asked for
            said = data.decode(errors="surrogateescape")
            event = Event(said, operations[way - 1], said, said, hit=None, detail=said)
            content, _ = line.sign(key, line.Head("0" * 32, 0, line.FIRST), 1_795_500_000.0, event, said)
            signed = line.read(content.removesuffix(b"\n"))
            if signed is None or not line.verifies(key, signed):
                raise AssertionError("a line of ours is none")
            if len(said) < 4096 and line.contents(signed)["detail"] != said:
                raise AssertionError("a line says something else than what happened")
        path.write_bytes(content)
        verification = Verification(lambda writer: line.chain_key(RING, "space", writer))
        for raw in lines_of(path, len(content)):
            verification.take(path, raw, "2026-11-24")
        if not way and content.strip() and verification.chains:
            raise AssertionError("a line that nobody signed is believed")

    yield run


@contextmanager
def _key_holders(_: Path) -> Iterator[Run]:
    store = MemoryBackend(None, lambda: 1_000.0)
    holders = KeyHolders(lambda: store, "openalgo:key.holders:", LiveRing(RING), "here", lambda: 1_000.0)

    def run(data: bytes) -> None:
        store.set(holders.key, Entry(data, None))
        if holders.roll().holders:
            raise AssertionError("somebody without our ring counts as a holder of it")
        holders.join(strict=False)
        if [one.instance for one in holders.roll().holders] != ["here"]:
            raise AssertionError("what somebody planted keeps us from telling what we hold")

    yield run


TARGETS: Final = (
    Target("records", _records, (UnreadableRecordError,)),
    Target("keys", _keys, (InvalidKeyError,)),
    Target("journals", _journals),
    Target("key-rings", _key_rings, (KeyRingError,)),
    Target("exports", _exports, (UnreadableExportError, KeyRingError)),
    Target("small-files", _small_files, (DamagedRecordError, BackendUnavailableError)),
    Target("key-holders", _key_holders),
    Target("audit-logs", _audit_logs),
    Target("snapshots", _snapshots, (UnreadableRecordError,)),
)

"""Every single bit of everything that is sealed, and cuts, fillings and splices besides: none is believed.

Codecs and formats are attacked with every bit in each run; records in stores with every seventh, which is at least one
of each byte, and with all in ``make attack``. Plain records are not sealed: nobody vouches for what is in them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import flask
import ormsgpack
import pytest

from openalgo_cache.audit import line
from openalgo_cache.audit.event import Event
from openalgo_cache.backends.invalidation.announcements import Names, open_sealed, seal
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import MAC
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import KeyRingError, UnreadableExportError, UnreadableRecordError
from openalgo_cache.journal import Journal
from openalgo_cache.keys import Keyspace
from openalgo_cache.sentinels import MISSING
from openalgo_cache.symbols.shelf import Shelf
from openalgo_cache.symbols.signing import Signer
from openalgo_cache.testing import FakeClock
from openalgo_cache.transfer.exportfile import Reader
from openalgo_host.csrf import COOKIE, AnonymousForms
from openalgo_host.vault import Vault, VaultError
from tests.codec import vectors
from tests.codec.vectors import RING
from tests.security.attack import Attack
from tests.security.harms import SAMPLED, Harm, cuts, fills, flips, splices
from tests.security.kinds import KINDS, VALUE, planted
from tests.security.stores import BACKENDS, Ground, InFile, ground_on
from tests.stacks import manager
from tests.transfer import golden

GOLDEN = {name: one for name, one in vectors.load().items() if one.mode != "plain"}
on_each_backend_of_each_kind = pytest.mark.parametrize(
    "name, kind",
    [
        pytest.param(name, kind, marks=[pytest.mark.server] if name in {"redis", "valkey"} else [])
        for name in BACKENDS
        for kind in KINDS
        if (name, kind) != ("memory", "state")  # which is refused
    ],
)


@pytest.fixture
def ground(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """The backend of the test."""
    with closing(ground_on(name, tmp_path, request.getfixturevalue)) as one:
        yield one


def all_harms(data: bytes, every: int = 1) -> Iterator[Harm]:
    """Do everything to it that can be done to one by itself."""
    return chain(flips(data, every), cuts(data), fills(data))


def is_read(read: Callable[[], object], *refusals: type[Exception]) -> bool:
    """Return whether something is read, and not refused."""
    try:
        read()
    except refusals:
        return False
    return True


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.attack("bits", "every bit of the golden records")
def test_every_bit_of_the_golden_records(attack: Attack) -> None:
    """Signed and encrypted, with every optional field, leases, compressed: no way of reading takes a changed one."""
    for name, vector in GOLDEN.items():
        codec, record = Codec(vector.seal()), bytes.fromhex(vector.record)
        assert codec.verifies(vector.stored, record)
        for what, changed in flips(record):
            for read in (codec.decode, codec.admit, codec.contents_of):
                succeeded = is_read(lambda: read(vector.stored, changed), UnreadableRecordError)  # noqa: B023  # called at once
                attack.tried(succeeded=succeeded, what=f"{name}: {what}")


@pytest.mark.attack("bits", "golden records, cut, filled and spliced")
def test_golden_records_that_were_cut_filled_and_spliced(attack: Attack) -> None:
    """Parts of two genuine records, under one key, make no third."""
    small = {name: one for name, one in GOLDEN.items() if len(one.record) < 500}
    for name, vector in small.items():
        codec, record = Codec(vector.seal()), bytes.fromhex(vector.record)
        others = [other for other in small.values() if (other.mode, other.stored) == (vector.mode, vector.stored)]
        spliced = [splices(record, bytes.fromhex(other.record)) for other in others[::8]]
        for what, changed in chain(cuts(record), fills(record), *spliced):
            attack.tried(succeeded=codec.verifies(vector.stored, changed), what=f"{name}: {what}")


@on_each_backend_of_each_kind
@pytest.mark.parametrize("every", [SAMPLED, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.attack("bits", "every bit of every kind of record, in every store")
def test_bits_of_records_in_stores(ground: Ground, kind: str, every: int, attack: Attack) -> None:
    """Changed in the store, over a connection of the attacker's, and asked for through the public face."""
    with planted(kind, ground.house()) as one, ground.store(one.backend) as store:
        record = store.read(one.stored)
        assert record is not None
        for what, changed in flips(record, every):
            store.write(one.stored, changed)
            attack.tried(succeeded=one.believed(), what=f"{kind} on {ground.name}: {what}")
        store.write(one.stored, record)
        assert kind == "lock" or one.believed(), "the record itself is as good as before"


@on_each_backend_of_each_kind
@pytest.mark.attack("bits", "records in stores, cut, filled and spliced")
def test_records_in_stores_that_were_cut_filled_and_spliced(ground: Ground, kind: str, attack: Attack) -> None:
    """Whatever is done to one, or to two of them."""
    with planted(kind, ground.house()) as one, ground.store(one.backend) as store:
        record = store.read(one.stored)
        assert record is not None
        others = [other for stored in one.others if (other := store.read(stored)) is not None]
        harms = list(chain(cuts(record), fills(record), *(splices(record, other) for other in others)))
        for what, changed in harms[:: max(len(harms) // 150, 1)]:
            store.write(one.stored, changed)
            attack.tried(succeeded=one.believed(), what=f"{kind} on {ground.name}: {what}")


@pytest.mark.attack("bits", "every bit of a record that lies near")
@pytest.mark.parametrize("kind", ["signed", "encrypted", "blinded", "tagged", "tag"])
@pytest.mark.parametrize("name", ["sqlite"])
def test_bits_under_a_near_tier(ground: Ground, kind: str, attack: Attack) -> None:
    """A copy near hides no change: the next read sees that something was written, looks, and refuses."""
    with planted(kind, ground.house(cache_near_enabled=True)) as one, ground.store(one.backend) as store:
        record = store.read(one.stored)
        assert record is not None
        for what, changed in flips(record, SAMPLED):
            store.write(one.stored, record)
            assert one.believed()
            store.write(one.stored, changed)
            attack.tried(succeeded=one.believed(), what=f"{kind} on {ground.name}: {what}")


@pytest.mark.attack("bits", "every bit of the expiry that a server's value begins with")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.server) for name in ("redis", "valkey")])
def test_bits_of_the_expiry_on_servers(ground: Ground, attack: Attack) -> None:
    """It is not sealed, and may end an entry early; it never lets one live for longer than its seal does."""
    clock = FakeClock()
    cache = ground.house(clock=clock).get_cache("quotes")
    with ground.store(cache.backend) as store:
        stored = cache._opened().keyspace.stored("key")
        cache.set("key", VALUE, 100)
        value = store.client.get(stored)
        for what, changed in all_harms(value[:8]):
            store.client.set(stored, changed + value[8:])
            attack.tried(succeeded=cache.get("key", VALUE) != VALUE, what=f"{what}: another value")
        clock.advance(101)
        for what, changed in all_harms(value[:8]):
            store.client.set(stored, changed + value[8:])
            attack.tried(succeeded=cache.get("key", MISSING) is not MISSING, what=f"{what}: prolonged")


@pytest.mark.attack("bits", "every bit of a record in a state's backup")
@pytest.mark.parametrize("every", [SAMPLED * 8, pytest.param(SAMPLED, marks=pytest.mark.soak)])
def test_bits_of_a_record_in_a_backup(tmp_path: Path, every: int, attack: Attack) -> None:
    """What comes back when the file is lost is verified as anything else: a changed record is not among it."""
    house = manager(tmp_path)
    cache = house.get_cache("running_strategies")
    cache.set("key", VALUE)
    backend = cache.backend
    assert isinstance(backend, SQLiteBackend)
    backend.maintain()
    stored, path = cache._opened().keyspace.stored("key"), backend.path
    house.close()
    (backup,) = path.parent.glob("cache_running_strategies.backup-*.db")
    content = backup.read_bytes()
    in_file = InFile(backup)
    record = in_file.read(stored)
    in_file.connection.close()
    assert record is not None
    assert content.count(record) == 1
    for what, changed in chain([("as it is", record)], flips(record, every)):
        backup.write_bytes(content.replace(record, changed))
        for left in path.parent.glob(path.name + "*"):
            left.unlink()
        path.write_bytes(b"no database" * 1000)
        again = manager(tmp_path)
        try:
            found = again.get_cache("running_strategies").get("key")
        except UnreadableRecordError:
            found = None
        again.close()
        if changed == record:
            assert found == VALUE, "the backup itself is as good as the file"
        else:
            attack.tried(succeeded=found is not None, what=what)


# --- formats of other things -----------------------------------------------------------------------------------------


@pytest.mark.attack("bits", "every bit of an export")
def test_every_bit_of_an_export(attack: Attack) -> None:
    """Head, kinds, lengths, contents, end: it is refused as a whole."""
    export = golden.FILE.read_bytes()

    def read(data: bytes) -> None:
        for _ in Reader(io.BytesIO(data), RING).frames():
            pass

    read(export)
    for what, changed in all_harms(export):
        succeeded = is_read(lambda: read(changed), UnreadableExportError, KeyRingError)  # noqa: B023  # called at once
        attack.tried(succeeded=succeeded, what=what)


@pytest.mark.attack("bits", "every bit of the key ring")
def test_every_bit_of_the_key_ring(attack: Attack) -> None:
    """Its checksum tells: a ring with one wrong bit would make every honest record look forged."""
    content = RING.to_json()
    assert KeyRing.parse(content).fingerprint() == RING.fingerprint()
    for what, changed in flips(content):
        attack.tried(succeeded=is_read(lambda: KeyRing.parse(changed), KeyRingError), what=what)  # noqa: B023
    for what, changed in cuts(content):
        if json.loads(content) != _json_or_none(changed):
            attack.tried(succeeded=is_read(lambda: KeyRing.parse(changed), KeyRingError), what=what)  # noqa: B023


@pytest.mark.attack("bits", "every bit of a single key")
def test_every_bit_of_a_single_key(attack: Attack) -> None:
    """It has no checksum, but its number follows from it: another key opens nothing, and says that it is another."""
    text = b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    genuine = KeyRing.parse(text)
    record = RingSeal(genuine, "space", "quotes", MAC).seal("key", b"\x2a", 1, 0.0, 1e12)
    for what, changed in flips(text):
        try:
            ring = KeyRing.parse(changed)
        except KeyRingError:
            attack.tried(succeeded=False)
            continue
        if ring.subkey("x", b"") == genuine.subkey("x", b""):
            assert changed.translate(None, b"-_+/") != changed or changed[42:] != text[42:], "unused bits at the end"
            continue
        succeeded = Codec(RingSeal(ring, "space", "quotes", MAC)).verifies("key", record)
        attack.tried(succeeded=succeeded or ring.active.id == genuine.active.id, what=what)


@pytest.mark.attack("bits", "every bit of a journal of lost deletes")
@pytest.mark.parametrize("every", [SAMPLED, pytest.param(1, marks=pytest.mark.soak)])
def test_every_bit_of_a_journal(tmp_path: Path, every: int, attack: Attack) -> None:
    """Whatever is wrong with a note, the key that it names is not served; with several notes likewise."""
    prefix = "openalgo:auth:"
    path = tmp_path / "journal"
    Journal(path, RING, prefix, collapses=True).add([prefix + "revoked"], 1.0)
    content = path.read_bytes()
    slot = content[4096 : 4096 + 576]
    for what, changed in chain(flips(slot, every), flips(content[:16])):
        path.write_bytes(content[:4096] + changed + content[4672:] if len(changed) == 576 else changed + content[16:])
        journal = Journal(path, RING, prefix, collapses=True)
        attack.tried(succeeded=not journal.withholds(prefix + "revoked"), what=what)


@pytest.mark.attack("bits", "every bit of an announcement")
def test_every_bit_of_an_announcement(attack: Attack) -> None:
    """A message of somebody without the key is none."""
    channel, secret = Names.of("openalgo:").channel, bytes(range(32))
    message = seal(secret, channel, bytes(16), 7, ["openalgo:quotes:key", "openalgo:quotes:other"])
    assert open_sealed(secret, channel, message) is not None
    for what, changed in all_harms(message):
        attack.tried(succeeded=open_sealed(secret, channel, changed) is not None, what=what)


@pytest.mark.attack("bits", "every bit of an audit line")
def test_every_bit_of_an_audit_line(attack: Attack) -> None:
    """A line says what its writer wrote; whole lines that are missing or moved: ``audit verify``, ``tests/audit``."""
    key = line.chain_key(RING, "space", "0" * 32)
    event = Event("auth", "DELETE", key="~3q2-7w", caller="blueprints.auth", hit=True, detail=None)
    signed, _ = line.sign(key, line.Head("0" * 32, 7, line.FIRST), 1_700_000_000.25, event, "instance-1")
    genuine = line.read(signed[:-1])
    assert genuine is not None
    assert line.verifies(key, genuine)
    for what, changed in all_harms(signed[:-1]):
        found = line.read(changed)
        attack.tried(succeeded=found is not None and line.verifies(key, found), what=what)


@pytest.mark.attack("bits", "every bit of a row of the symbol master")
def test_every_bit_of_a_row_of_the_symbol_master(attack: Attack) -> None:
    """Its fields, its number, its version and its mark; in the file itself: ``tests/symbols/test_tampering.py``."""
    fields = ("NIFTY28MAR24FUT", "NIFTY", "NFO", "35001", "28-MAR-24", 24_000.5, 50, "FUT", 0.05, None)
    version = bytes(range(16))
    mark = Signer(RING, version).sign(7, fields)
    assert Signer(RING, version).verify(7, fields, mark)
    for what, changed in all_harms(mark):
        attack.tried(succeeded=Signer(RING, version).verify(7, fields, changed), what=what)
    for what, changed in flips(version):
        attack.tried(succeeded=Signer(RING, changed).verify(7, fields, mark), what=what)
    for number in [7 ^ 1 << bit for bit in range(64)]:
        attack.tried(succeeded=Signer(RING, version).verify(number, fields, mark), what=f"row {number}")
    for what, changed in flips(ormsgpack.packb(fields)):
        try:
            others = ormsgpack.unpackb(changed)
        except ValueError:
            continue
        attack.tried(succeeded=Signer(RING, version).verify(7, others, mark), what=what)


@pytest.mark.attack("bits", "every bit of the shared symbol master")
def test_every_bit_of_the_shared_symbol_master(attack: Attack) -> None:
    """The record that says what is current, and a chunk of it."""
    keyspace = Keyspace("openalgo", "symbols")
    codec = Codec(RingSeal(RING, RING.id, "symbols", MAC), compress=True)
    store = MemoryBackend(None)
    number = "0" * 32
    current = Shelf(store, keyspace, codec, lambda: 1.0).publish(b"packed" * 9, 0, number, 1, 1.0)
    keys = keyspace.stored("snapshot"), keyspace.stored(("snapshot", number, 0))
    for place, key in enumerate(keys):
        entry = store.get(key)
        assert entry is not None
        for what, changed in all_harms(entry.payload):
            store.set(key, entry._replace(payload=changed))
            shelf = Shelf(store, keyspace, codec, lambda: 1.0)

            def read(shelf: Shelf = shelf, place: int = place) -> object:
                found = shelf.look().current if place == 0 else shelf.fetch(current, lambda _: None)
                if found is None:
                    raise UnreadableRecordError
                return found

            attack.tried(succeeded=is_read(read, UnreadableRecordError), what=f"{key}: {what}")
        store.set(key, entry)


@pytest.mark.attack("bits", "every bit of a form's token")
def test_every_bit_of_a_token_of_a_form(attack: Attack) -> None:
    """The host's forms for visitors without a session: neither cookie nor token can be changed."""
    forms = AnonymousForms(RING.subkey("openalgo-host forms", b""))
    app = flask.Flask(__name__)
    with app.test_request_context():
        nonce, token = forms.token(flask.request)

    def is_genuine(nonce: bytes, token: bytes) -> bool:
        cookie = f"{COOKIE}={nonce.decode('latin-1')}"
        with app.test_request_context(environ_overrides={"HTTP_COOKIE": cookie}):
            return forms.is_genuine(flask.request, token.decode("latin-1"))

    assert is_genuine(nonce.encode(), token.encode())
    for what, changed in flips(token.encode()):
        attack.tried(succeeded=is_genuine(nonce.encode(), changed), what=f"token, {what}")
    for what, changed in flips(nonce.encode()):
        attack.tried(succeeded=is_genuine(changed, token.encode()), what=f"cookie, {what}")


@pytest.mark.attack("bits", "every bit of a secret in the host's database")
def test_every_bit_of_a_secret_in_the_vault(tmp_path: Path, attack: Attack) -> None:
    """Changed, or moved to another row, or read with another key ring."""
    houses = [manager(tmp_path / name) for name in ("ours", "theirs")]
    vault, foreign = map(Vault, houses)
    sealed, other = vault.seal("api_keys/1", "the key"), vault.seal("api_keys/1", "another key")
    assert vault.open("api_keys/1", sealed) == "the key"
    for what, changed in chain(all_harms(sealed), splices(sealed, other)):
        attack.tried(succeeded=is_read(lambda: vault.open("api_keys/1", changed), VaultError), what=what)  # noqa: B023
    for who, place in ((vault, "api_keys/2"), (vault, "api_keys/"), (foreign, "api_keys/1")):
        attack.tried(succeeded=is_read(lambda: who.open(place, sealed), VaultError), what=place)  # noqa: B023
    for house in houses:
        house.close()


def _json_or_none(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None

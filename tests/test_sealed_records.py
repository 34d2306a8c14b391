"""Whoever can write to the cache files gets no value believed, no life prolonged and no code run; nor loses us data."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.backends.sqlite.schema import PUT
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Policy, Sealing
from openalgo_cache.codec import envelope
from openalgo_cache.codec.ringfile import FILE_NAME
from openalgo_cache.errors import BlindedKeysError, CacheError, KeyRingError, UnreadableRecordError
from openalgo_cache.manager import CacheManager
from openalgo_cache.sentinels import MISSING
from openalgo_cache.stack import build_stack
from tests.stacks import manager

SIGNED, ENCRYPTED, BLINDED, STATE = "quotes", "user_strategies", "broker", "running_strategies"
CACHES: Final = (SIGNED, ENCRYPTED, BLINDED)
KEY: Final = "M&M|NSE"
VALUES: Final[dict[str, Any]] = {
    "text": "enctoken 5f2c",
    "table": {"symbol": "NIFTY 50", "token": 26000, "legs": [1, 2.5, None]},
}
FIRST_OF_KEY_ID: Final = 24
FIRST_OF_WRITER_ID: Final = 28

each_cache = pytest.mark.parametrize("name", CACHES)
near_or_not = pytest.mark.parametrize("near", [False, True], ids=["from the file", "with a near tier"])


class Hands:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1_772_420_400.0

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now


class Vandal:
    """Somebody who can write to a cache's file, past the cache.

    Args:
        path: The file; there as soon as the cache was used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _connection(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def only_row(self) -> tuple[str, bytes, float | None]:
        """Return stored key, record and expiry of the one row that is there."""
        ((stored, record, expires_at),) = self._connection.execute(
            "SELECT key, value, expires_at FROM cache"
        ).fetchall()
        assert isinstance(stored, str)
        assert isinstance(record, bytes)
        assert expires_at is None or isinstance(expires_at, float)
        return stored, record, expires_at

    def put(self, stored: str, record: bytes, expires_at: float | None) -> None:
        """Put a record under a stored key."""
        self._connection.execute(PUT, (stored, expires_at, 1e9, record))

    def record(self, stored: str) -> bytes | None:
        """Return the record under a stored key."""
        found: bytes | None = self._connection.execute("SELECT value FROM cache WHERE key = ?", (stored,)).get
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


Open = Callable[..., CacheManager]


@pytest.fixture
def hands() -> Hands:
    """The clock of all."""
    return Hands()


@pytest.fixture
def open_house(tmp_path: Path, hands: Hands) -> Iterator[Open]:
    """Make managers of one folder, as its processes have them; closed afterwards."""
    opened: list[CacheManager] = []

    def make(**settings: Any) -> CacheManager:
        opened.append(manager(tmp_path, hands, **settings))
        return opened[-1]

    yield make
    for house in opened:
        house.close()


@pytest.fixture
def vandal(tmp_path: Path) -> Iterator[Callable[..., Vandal]]:
    """Make vandals of a cache's file."""
    with ExitStack() as stack:

        def make(name: str, at: str = "") -> Vandal:
            return stack.enter_context(closing(Vandal(tmp_path / "db" / f"cache_{name}{at}.db")))

        yield make


def rejected(cache: Cache) -> int:
    """Return how many records the cache refused."""
    return int(cache.stats()["rejected"])


def flipped(record: bytes, bit: int) -> bytes:
    """Return a record with one bit flipped."""
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def is_surely_ours(bit: int) -> bool:
    """Return whether a record with this bit flipped is still one that names a key of our ring."""
    at = bit // 8  # the flags, and an expiry that is no number, make it a record of no known form
    return at == 5 or 8 <= at < envelope.EXPIRES_AT or at >= FIRST_OF_WRITER_ID


def is_surely_not_ours(bit: int) -> bool:
    """Return whether a record with this bit flipped is of another format, or names a key that we do not hold."""
    return bit // 8 < 5 or FIRST_OF_KEY_ID <= bit // 8 < FIRST_OF_WRITER_ID


# Every bit


@pytest.mark.parametrize(
    "name, value",
    [
        *((name, VALUES[kind]) for name in CACHES for kind in VALUES),
        (SIGNED, "compressed " * 1000),
    ],
    ids=[*(f"{name}-{kind}" for name in CACHES for kind in VALUES), f"{SIGNED}-compressed"],
)
@pytest.mark.parametrize("ttl", [60, None], ids=["for a minute", "for ever"])
def test_no_record_is_served_with_any_bit_flipped(
    name: str, value: Any, ttl: float | None, open_house: Open, vandal: Callable[..., Vandal]
) -> None:
    """All are misses and counted; what surely is ours goes, what names a key that we do not hold stays as it is."""
    cache, files = open_house(cache_near_enabled=False).get_cache(name), vandal(name)
    cache.set(KEY, value, ttl=ttl)
    stored, record, expires_at = files.only_row()
    bits = len(record) * 8
    for bit in range(bits):
        bad = flipped(record, bit)
        files.put(stored, bad, expires_at)
        assert cache.get(KEY, MISSING) is MISSING, f"served with bit {bit} flipped"
        left = files.record(stored)
        assert left in {None, bad}
        assert left is None or not is_surely_ours(bit), f"bit {bit}"
        assert left is not None or not is_surely_not_ours(bit), f"bit {bit}"
    assert rejected(cache) == bits
    files.put(stored, record, expires_at)
    assert cache.get(KEY) == value


@each_cache
def test_no_flipped_record_is_served_from_near(name: str, open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """What lies near goes when the file changes, and what then is there is looked at like anything else."""
    cache, files = open_house(cache_near_enabled=True).get_cache(name), vandal(name)
    cache.set(KEY, "value", ttl=60)
    stored, record, expires_at = files.only_row()
    bits = range(0, len(record) * 8, 7)
    for bit in bits:
        files.put(stored, record, expires_at)
        assert (cache.get(KEY), cache.get(KEY)) == ("value", "value")
        files.put(stored, flipped(record, bit), expires_at)
        assert cache.get(KEY, MISSING) is MISSING
        assert cache.get_many([KEY]) == {}
    assert cache.stats()["near_hits"] >= len(bits)
    assert rejected(cache) >= len(bits)


@near_or_not
def test_state_with_any_bit_flipped_raises_and_is_kept(
    near: bool, open_house: Open, vandal: Callable[..., Vandal]
) -> None:
    """It is the only copy: nothing but an explicit set or delete touches it."""
    cache, files = open_house(cache_near_enabled=near).get_cache(STATE), vandal(STATE)
    cache.set(KEY, "running")
    stored, record, expires_at = files.only_row()
    for bit in range(len(record) * 8):
        bad = flipped(record, bit)
        files.put(stored, bad, expires_at)
        with pytest.raises(UnreadableRecordError):
            cache.get(KEY)
        assert files.record(stored) == bad
    assert rejected(cache) == len(record) * 8
    files.put(stored, record, expires_at)
    assert cache.get(KEY) == "running"


def verbs(cache: Cache) -> dict[str, Callable[[], object]]:
    """Return all verbs that look at what is there."""
    return {
        "get": lambda: cache.get(KEY),
        "get_many": lambda: cache.get_many([KEY]),
        "[]": lambda: cache[KEY],
        "in": lambda: KEY in cache,
        "exists": lambda: cache.exists(KEY),
        "ttl": lambda: cache.ttl(KEY),
        "items": lambda: list(cache.items()),
        "add": lambda: cache.add(KEY, "new"),
        "touch": lambda: cache.touch(KEY),
        "pop": lambda: cache.pop(KEY, None),
        "incr": lambda: cache.incr(KEY),
        "setdefault": lambda: cache.setdefault(KEY, "new"),
        "get_or_set": lambda: cache.get_or_set(KEY, lambda: "new"),
    }


def test_every_verb_raises_for_unreadable_state(open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """None of them takes it for nothing, and so writes over it."""
    cache, files = open_house().get_cache(STATE), vandal(STATE)
    cache.set(KEY, "running")
    stored, record, expires_at = files.only_row()
    bad = flipped(record, 8 * len(record) - 1)
    files.put(stored, bad, expires_at)
    for verb, call in verbs(cache).items():
        with pytest.raises(UnreadableRecordError):
            call()
        assert files.record(stored) == bad, verb


# Moved, prolonged, replaced


def put_in_place(cache: Cache, files: Vandal, change: Callable[[bytes], bytes]) -> tuple[str, bytes, bytes]:
    """Write an honest record, read it, put a changed one in its place, and return the stored key and both."""
    cache.set(KEY, "honest", ttl=600)
    assert cache.get(KEY) == "honest"
    stored, record, expires_at = files.only_row()
    bad = change(record)
    files.put(stored, bad, expires_at)
    return stored, record, bad


def check_refused(cache: Cache, files: Vandal, stored: str, bad: bytes, what: str = "") -> None:
    """A cache misses; a state raises and keeps the record."""
    before = rejected(cache)
    if cache.name == STATE:
        with pytest.raises(UnreadableRecordError):
            cache.get(KEY)
        assert files.record(stored) == bad, what
    else:
        assert cache.get(KEY, MISSING) is MISSING, what
    assert rejected(cache) == before + 1, what


@near_or_not
@pytest.mark.parametrize("name", [*CACHES, STATE])
def test_a_record_of_another_key(name: str, near: bool, open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """Somebody else's token is not ours, even in the same cache."""
    cache, files = open_house(cache_near_enabled=near).get_cache(name), vandal(name)
    cache.set("another", "another's", ttl=600)
    _, record, _ = files.only_row()
    cache.delete("another")
    stored, _, bad = put_in_place(cache, files, lambda _: record)
    check_refused(cache, files, stored, bad)
    if name != STATE:
        assert files.record(stored) is None


@near_or_not
@pytest.mark.parametrize("name, other", [(SIGNED, "settings"), (BLINDED, "auth"), (STATE, "strategy_configs")])
def test_a_record_of_another_cache(
    name: str, other: str, near: bool, open_house: Open, vandal: Callable[..., Vandal]
) -> None:
    """Not even if it was written under the same key."""
    house = open_house(cache_near_enabled=near)
    house.get_cache(other).set(KEY, "another's", ttl=600)
    _, record, _ = vandal(other).only_row()
    cache, files = house.get_cache(name), vandal(name)
    stored, _, bad = put_in_place(cache, files, lambda _: record)
    check_refused(cache, files, stored, bad)


@near_or_not
@pytest.mark.parametrize("name", [*CACHES, STATE])
def test_a_record_of_another_namespace(name: str, near: bool, open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """Two installations with one key ring cannot be made to read each other's records."""
    test = open_house(cache_namespace="test")
    test.get_cache(name).set(KEY, "of a test run", ttl=600)
    _, record, _ = vandal(name, "@test").only_row()
    cache, files = open_house(cache_near_enabled=near).get_cache(name), vandal(name)
    stored, _, bad = put_in_place(cache, files, lambda _: record)
    check_refused(cache, files, stored, bad)


REPLACEMENTS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": lambda record: (
        envelope.pack_head(envelope.PLAIN, envelope.MSGPACK, 1e9, 1e12) + b"\xa6forged"  # MessagePack for "forged"
    ),
    "the value alone": lambda record: b"\xa6forged",
    "nothing": lambda record: b"",
    "zeros": lambda record: bytes(len(record)),
    "text": lambda record: b"forged " * 50,
    "the head alone": lambda record: record[:56],
    "twice": lambda record: record * 2,
    "a byte more": lambda record: record + b"\0",
    "a later version": lambda record: record[:3] + b"\2" + record[4:],
}


@near_or_not
@pytest.mark.parametrize("name", [*CACHES, STATE])
def test_what_is_no_record_of_ours(name: str, near: bool, open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """Plain records and garbage are worth nothing, whatever they claim to be."""
    cache, files = open_house(cache_near_enabled=near).get_cache(name), vandal(name)
    for what, change in REPLACEMENTS.items():
        stored, _, bad = put_in_place(cache, files, change)
        check_refused(cache, files, stored, bad, what)


@pytest.mark.parametrize("name", [*CACHES, STATE])
def test_a_record_cut_off_anywhere(name: str, open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """At every length."""
    cache, files = open_house(cache_near_enabled=False).get_cache(name), vandal(name)
    stored, record, _ = put_in_place(cache, files, bytes)
    for length in range(len(record)):
        files.put(stored, record[:length], None)
        check_refused(cache, files, stored, record[:length])


@near_or_not
def test_a_signed_record_in_an_encrypted_cache(near: bool, open_house: Open, vandal: Callable[..., Vandal]) -> None:
    """Encryption that was off once is no way in: what is merely signed is not believed, nor deleted; the reverse is."""
    signing = open_house(cache_encryption_enabled=False).get_cache(ENCRYPTED)
    signing.set(KEY, "signed", ttl=600)
    files = vandal(ENCRYPTED)
    stored, record, _ = files.only_row()
    assert record[envelope.MODE] == envelope.MAC
    cache = open_house(cache_near_enabled=near).get_cache(ENCRYPTED)
    check_refused(cache, files, stored, record)
    assert files.record(stored) == record
    cache.set(KEY, "encrypted", ttl=600)
    assert signing.get(KEY) == "encrypted"


@near_or_not
@pytest.mark.parametrize("claimed", [1e12, None], ids=["for millennia", "for ever"])
@pytest.mark.parametrize("name", [*CACHES, STATE])
def test_a_prolonged_record(
    name: str, claimed: float | None, near: bool, tmp_path: Path, hands: Hands, open_house: Open
) -> None:
    """A row may claim to live longer: what counts is the expiry that is sealed in the record."""
    house = open_house(cache_near_enabled=near)
    cache = house.get_cache(name)
    cache.set(KEY, "token", ttl=60)
    house.close()
    with closing(apsw.Connection(str(tmp_path / "db" / f"cache_{name}.db"))) as connection:
        connection.execute("UPDATE cache SET expires_at = ?", (claimed,))
        assert connection.total_changes() == 1
    assert cache.get(KEY) == "token"
    assert cache.get(KEY) == "token"
    assert rejected(cache) == 0
    hands.now += 60
    if name == STATE:
        with pytest.raises(UnreadableRecordError):
            cache.get(KEY)
        assert cache.size() == 1
    else:
        assert cache.get(KEY, MISSING) is MISSING
        assert cache.size() == 0
    assert rejected(cache) == 1


# Another key ring


WRITTEN: Final = (
    "quotes",
    "settings",
    "auth",
    "broker",
    "api_keys_verified",
    "user_strategies",
    STATE,
    "strategy_configs",
)


def contents(folder: Path) -> dict[str, list[Any]]:
    """Return every row of every cache file."""
    found = {}
    for path in sorted((folder / "db").glob("cache_*.db")):
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            if "recency" not in path.name:
                found[path.name] = connection.execute("SELECT * FROM cache ORDER BY key").fetchall()
    return found


@near_or_not
@pytest.mark.parametrize("ring", ["another", "none", "a missing file"])
def test_yesterdays_files_with_another_key_ring(ring: str, near: bool, tmp_path: Path, open_house: Open) -> None:
    """Caches miss, state raises, nothing is deleted; with the right ring all is there again."""
    house = open_house()
    for name in WRITTEN:
        house.get_cache(name).set(KEY, f"in {name}", ttl=600)
    house.close()
    before = contents(tmp_path)
    assert [len(rows) for rows in before.values()] == [1] * len(WRITTEN)
    place, away = tmp_path / "db" / FILE_NAME, tmp_path / "right ring"
    place.rename(away)

    settings: dict[str, Any] = {"cache_near_enabled": near}
    if ring == "another":
        other = tmp_path / "other"
        manager(other).ring()
        (other / "db" / FILE_NAME).rename(place)
    elif ring == "a missing file":
        settings["cache_key_file"] = place
    stranger = open_house(**settings)
    for name in WRITTEN:
        cache = stranger.get_cache(name)
        if ring != "another":
            if cache.policy.durability.value == "state":
                with pytest.raises(KeyRingError, match=FILE_NAME):
                    cache.get(KEY)
            else:
                cache.set(KEY, "not stored")
                assert cache.get(KEY) is None
            continue
        if cache.policy.durability.value == "state":
            with pytest.raises(UnreadableRecordError, match=r"the record is kept"):
                cache.get(KEY)
            with pytest.raises(UnreadableRecordError):
                list(cache.items())
        else:
            assert cache.get(KEY, MISSING) is MISSING
            assert cache.get_many([KEY]) == {}
            if cache.policy.blinded:
                with pytest.raises(BlindedKeysError):
                    cache.items()
            else:
                assert list(cache.items()) == []
                assert rejected(cache) == 3
        assert isinstance(cache.backend, SQLiteBackend)
        cache.backend.maintain()
    stranger.close()
    after = contents(tmp_path)  # and backups, perhaps
    assert {file: after[file] for file in before} == before

    away.replace(place)
    again = open_house(cache_near_enabled=near)
    assert {name: again.get_cache(name).get(KEY) for name in WRITTEN} == {name: f"in {name}" for name in WRITTEN}


# Code that somebody planted


def bomb(canary: Path) -> bytes:
    """Return what ``pickle.loads`` turns into a file (protocol 0: os.system of one text)."""
    return f"cos\nsystem\n(S'echo planted > {canary.name}'\ntR.".encode()


def test_the_canary_would_sing(tmp_path: Path) -> None:
    """The bytes of the next test do run when they are unpickled."""
    (tmp_path / "bomb").write_bytes(bomb(tmp_path / "canary"))
    subprocess.run([sys.executable, "-m", "pickle", "bomb"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "canary").exists()


PLANTED: Final[dict[str, Callable[[bytes, bytes], bytes]]] = {
    "bare": lambda record, code: code,
    "in a plain record": lambda record, code: envelope.pack_head(envelope.PLAIN, 1, 1e9, 1e12) + code,
    "in a plain record of another serialiser": lambda record, code: (
        envelope.pack_head(envelope.PLAIN, 2, 1e9, 1e12) + code
    ),
    "under an honest head": lambda record, code: record[: envelope.parse_head(record).size] + code + record[-16:],
}


@pytest.mark.parametrize("name", [*CACHES, STATE, "plain"])
@near_or_not
def test_planted_code_is_never_run(
    name: str,
    near: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    open_house: Open,
    vandal: Callable[..., Vandal],
) -> None:
    """By no verb, of no kind of cache: nothing here can read it, let alone run it."""
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    house = open_house(cache_near_enabled=near)
    if name == "plain":
        policy, ground = Policy(sealing=Sealing.PLAIN), house.ground()
        cache = Cache(name, policy, lambda: build_stack(name, policy, "sqlite", ground), ground.clock)
    else:
        cache = house.get_cache(name)
    cache.set(KEY, "honest", ttl=600)
    files = vandal(name)
    for how, (verb, call) in itertools.product(PLANTED, verbs(cache).items()):
        cache.clear()
        cache.set(KEY, "honest", ttl=600)
        assert cache.get(KEY) == "honest"
        stored, record, expires_at = files.only_row()
        files.put(stored, PLANTED[how](record, bomb(canary)), expires_at)
        try:
            result = call()
        except (CacheError, KeyError):
            result = None
        # Nobody vouches for a plain record, and the first byte of the code is a number to MessagePack.
        assert name == "plain" or result in (None, False, True, "new", 1, [], {}), f"{how}, {verb}"
        assert not canary.exists()
    assert rejected(cache) > 0
    cache.close()

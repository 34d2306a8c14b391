"""Every kind of thing that is sealed: who seals it, and how it comes into a store and is asked for again.

``USERS`` lists the modules of the product that use a key of the ring, and what of theirs is attacked where. A module
that is not in the list fails ``test_seal_users.py``, so that whoever seals something new says how it is attacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import flask

from openalgo_cache import CacheManager
from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import LONGEST_LOAD
from openalgo_cache.errors import LockTimeoutError, UnreadableRecordError
from openalgo_cache.integrations.sessions import CacheSessions
from openalgo_cache.sentinels import MISSING

VALUE: Final = {"token": "abc", "user": 7}
LARGE: Final = ["RELIANCE"] * 400
"""What is worth compressing."""

USERS: Final = {
    "openalgo_cache/codec/sealing.py": "records: KINDS here, golden records in test_bits.py",
    "openalgo_cache/codec/keyring.py": "the key ring's own file: test_bits.py",
    "openalgo_cache/codec/resealing.py": "opens records and seals them anew: tests/rotation/test_sweep.py",
    "openalgo_cache/rotation/places.py": "derives the key of announcements",
    "openalgo_cache/stack.py": "derives keys for records, blinding, tags, announcements",
    "openalgo_cache/epochs.py": "hashes of epochs, in records: KINDS, test_moves.py",
    "openalgo_cache/keys.py": "blinded keys: test_moves.py",
    "openalgo_cache/tags.py": "names of tags; their records are in KINDS",
    "openalgo_cache/slots.py": "journal slots: test_bits.py, test_moves.py",
    "openalgo_cache/symbols/opening.py": "hands the ring's subkeys to the symbol master",
    "openalgo_cache/audit/line.py": "audit lines: test_bits.py, tests/audit",
    "openalgo_cache/keyholders.py": "which processes hold which keys: tests/keys/test_keyholders.py, every bit",
    "openalgo_cache/backends/sqlite/cipher.py": "the key of a whole file, on top of sealed records: tests/sqlite",
    "openalgo_cache/census.py": "hands a subkey to what it opens",
    "openalgo_cache/cli/encrypting.py": "the key of a whole file: tests/sqlite",
    "openalgo_cache/rotation/cachefiles.py": "the key of a whole file: tests/rotation",
    "openalgo_cache/cli/session.py": "opens what the other commands look at",
    "openalgo_cache/cli/keycheck.py": "verifies records, and seals none",
    "openalgo_cache/cli/auditing.py": "blinds a key to search for it",
    "openalgo_cache/backends/invalidation/announcements.py": "announcements: test_bits.py, test_moves.py",
    "openalgo_cache/backends/resp/backend.py": "derives the key of announcements",
    "openalgo_cache/symbols/signing.py": "rows of the symbol master: test_bits.py, tests/symbols/test_tampering.py",
    "openalgo_cache/symbols/shelf.py": "the shared symbol master, in records: test_bits.py",
    "openalgo_cache/transfer/exportfile.py": "exports: test_bits.py",
    "openalgo_cache/testing/rig.py": "the public conformance suite",
    "openalgo_host/csrf.py": "tokens of forms: test_bits.py",
    "openalgo_host/admission.py": "compares a token with the one of the operator: tests/host/test_health.py",
    "openalgo_host/api_keys.py": "hashes of API keys: tests/host",
    "openalgo_host/webhooks.py": "hashes of webhooks' tokens: tests/host",
    "openalgo_host/vault.py": "secrets in the host's database: test_bits.py",
    "openalgo_host/pages/login.py": "hands a subkey to csrf.py",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """One sealed record in a store, and two questions about it.

    Attributes:
        backend: The backend that it is in.
        stored: The stored key.
        believed: Whether the public face takes the record for what it says. Raises nothing.
        others: Stored keys of records of the same kind, to be spliced with.
    """

    backend: CacheBackend
    stored: str
    believed: Callable[[], bool]
    others: tuple[str, ...] = ()


Kind = Callable[[CacheManager, ExitStack], Planted]


def _entry(cache: Cache, value: object = VALUE, **options: Any) -> Planted:
    for key in ("key", "other"):
        cache.set(key, value, 1000, **options)
    return _asked(cache)


def _asked(cache: Cache) -> Planted:
    stored = cache._opened().keyspace.stored

    def believed() -> bool:
        try:
            return cache.get("key", MISSING) is not MISSING
        except UnreadableRecordError:
            return False

    return Planted(cache.backend, stored("key"), believed, (stored("other"),))


def _signed(house: CacheManager, _: ExitStack) -> Planted:
    return _entry(house.get_cache("quotes"))


def _encrypted(house: CacheManager, _: ExitStack) -> Planted:
    return _entry(house.get_cache("user_strategies"))


def _blinded(house: CacheManager, _: ExitStack) -> Planted:
    return _entry(house.get_cache("broker"))


def _compressed(house: CacheManager, _: ExitStack) -> Planted:
    return _entry(house.get_cache("quotes"), LARGE)


def _never_expires(house: CacheManager, _: ExitStack) -> Planted:
    cache = house.get_cache("quotes")
    for key in ("key", "other"):
        cache.set(key, VALUE, None)
    return _asked(cache)


def _stale_until(house: CacheManager, _: ExitStack) -> Planted:
    return _entry(house.get_cache("news", stale_for=500))


def _tagged(house: CacheManager, _: ExitStack) -> Planted:
    return _entry(house.get_cache("user_strategies"), tags=("user:7", "desk"))


def _epoch(house: CacheManager, _: ExitStack) -> Planted:
    cache = house.get_cache("broker")
    for key, epoch in (("key", 7), ("other", 8)):
        cache.set(key, VALUE, 1000, epoch=epoch)
    stored = cache._opened().keyspace.stored

    def believed() -> bool:
        return any(cache.get("key", MISSING, epoch=epoch) is not MISSING for epoch in (7, None, 6, 8))

    return Planted(cache.backend, stored("key"), believed, (stored("other"),))


def _tag(house: CacheManager, _: ExitStack) -> Planted:
    cache = house.get_cache("quotes")
    planted = _entry(cache, tags=("desk",))
    (tag,) = cache._opened().tags.ids(("desk",))
    return Planted(planted.backend, cache._opened().tags.stored(tag), planted.believed)


def _lease(house: CacheManager, _: ExitStack) -> Planted:
    cache = house.get_cache("quotes")
    stack = cache._opened()
    stored = stack.keyspace.stored("key")
    now = cache._now()
    stack.backend.set(stored, Entry(stack.codec.encode_lease(stored, now, now + LONGEST_LOAD), now + LONGEST_LOAD))

    def believed() -> bool:
        return cache._look_up(stack, stored).leased or cache.get("key", MISSING) is not MISSING

    return Planted(stack.backend, stored, believed)


def _lock(house: CacheManager, opened: ExitStack) -> Planted:
    cache = house.get_cache("quotes")
    opened.callback(lambda: None)
    held = cache.lock("rebuild", ttl=1000)
    held.__enter__()
    records = cache._lock_records()._opened()

    def believed() -> bool:
        try:
            with cache.lock("rebuild", ttl=1000, timeout=0):
                return False
        except LockTimeoutError:
            return True

    return Planted(records.backend, records.keyspace.stored("rebuild"), believed)


def _session(house: CacheManager, _: ExitStack) -> Planted:
    app = flask.Flask(__name__)
    sessions = CacheSessions(app, manager=house)
    sessions._cache = house.get_cache(
        "session", encrypted=True, blinded=True, backend=str(house.settings.cache_backend), on_error="raise"
    )

    @app.route("/", methods=["GET", "POST"])
    def page() -> str:
        if flask.request.method == "POST":
            flask.session["user"] = "ann"
        return str("user" in flask.session)

    client, other = app.test_client(), app.test_client()
    cookies = []
    for one in (client, other):
        one.post("/")
        cookie = one.get_cookie("session")
        assert cookie is not None
        cookies.append(cookie.value)
    stored = [sessions.cache._opened().keyspace.stored(cookie) for cookie in cookies]
    return Planted(sessions.cache.backend, stored[0], lambda: client.get("/").text == "True", (stored[1],))


def _state(house: CacheManager, _: ExitStack) -> Planted:
    cache = house.get_cache("running_strategies")
    for key in ("key", "other"):
        cache.set(key, VALUE)
    return _asked(cache)


KINDS: Final[dict[str, Kind]] = {
    "signed": _signed,
    "encrypted": _encrypted,
    "blinded": _blinded,
    "compressed": _compressed,
    "never expires": _never_expires,
    "stale_until": _stale_until,
    "tagged": _tagged,
    "epoch": _epoch,
    "tag": _tag,
    "lease": _lease,
    "lock": _lock,
    "session": _session,
    "state": _state,
}
"""Records in a store. Plain ones are not among them: nobody vouches for those, and no shared store gets any."""


@contextmanager
def planted(kind: str, house: CacheManager) -> Iterator[Planted]:
    """Yield one record of a kind, which is believed as it is."""
    with ExitStack() as opened:
        one = KINDS[kind](house, opened)
        assert one.believed(), f"a genuine {kind} record is not believed"
        yield one

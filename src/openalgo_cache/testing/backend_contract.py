"""What every backend promises, whatever it is made of: the verbs of ``CacheBackend`` over bytes and expiries."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from openalgo_cache.backends.base import CacheBackend, Entry, SupportsInvalidation, SupportsScan, has_change_token
from openalgo_cache.keys import escape
from openalgo_cache.testing.capabilities import ChangeTokenContract, ScanContract
from openalgo_cache.testing.invalidation import InvalidationContract
from openalgo_cache.testing.rig import Contract, Rig

_MILLISECOND: Final = 0.001

PAYLOADS: Final = {
    "empty": b"",
    "a zero": b"\0",
    "every byte": bytes(range(256)),
    "no UTF-8": b"\xff\xfe\x80",
    "a number": b"12",
    "a line's end": b"a\r\n\r\n",
    "a megabyte": bytes(range(256)) * 4096,
}

TEXTS: Final = (
    "",
    "a",
    "A",
    "a ",
    " a",
    "1",
    "01",
    "1.0",
    "1e0",
    "M&M|NSE",
    "NIFTY 50",
    "auth-user@example.com",
    "a:b",
    "a::b",
    "@b:c",
    "!i1",
    "~blinded",
    "'quoted'",
    '"quoted"',
    "`;--",
    "a/b\\..",
    "50%",
    "%35",
    "a*",
    "a?",
    "[a]",
    "^a",
    "{a}",
    "{",
    "_",
    "a_b",
    "axb",
    "é",
    "e\u0301",
    "रुपया",
    "株",
    "\U0001f4c8",
    "x" * 512,
    "\u092f" * 170,
)
"""Keys that some store, somewhere, takes for something else."""


class BackendContract(Contract):
    """The verbs. Inherit, write ``make_backend``, and add a contract for each capability that the backend has."""

    @pytest.fixture
    def backend(self, rig: Rig) -> CacheBackend:
        """An empty, unbounded backend."""
        return rig.backend()

    @pytest.fixture
    def key(self, rig: Rig) -> str:
        """A key of that backend."""
        return rig.prefix("quotes") + "NIFTY 50"

    def test_what_it_can_do_is_tested(self, backend: CacheBackend) -> None:
        """A backend with a capability inherits the contract of that capability, and no other does."""
        assert isinstance(backend, SupportsScan) == isinstance(self, ScanContract)
        assert has_change_token(backend) == isinstance(self, ChangeTokenContract)
        assert isinstance(backend, SupportsInvalidation) == isinstance(self, InvalidationContract)

    # --- one key -----------------------------------------------------------------------------------------------------

    def test_an_absent_key(self, backend: CacheBackend, key: str) -> None:
        """Nothing is there before something was set."""
        assert backend.get(key) is None
        assert backend.exists(key) is False
        assert backend.delete(key) is False
        assert backend.get_many([key]) == {}
        assert backend.size() == 0

    def test_what_was_set_is_there(self, backend: CacheBackend, key: str) -> None:
        """An entry comes back as it was, with no expiry if it had none."""
        backend.set(key, Entry(b"payload", None))
        assert backend.get(key) == Entry(b"payload", None)
        assert isinstance(backend.get(key), Entry)
        assert backend.exists(key) is True
        assert backend.size() == 1

    def test_the_expiry_comes_back(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """To the millisecond: what is sealed in a record says the rest."""
        expires_at = rig.clock() + self.lifetime + 0.1234
        backend.set(key, Entry(b"payload", expires_at))
        entry = backend.get(key)
        assert entry is not None
        assert entry.expires_at == pytest.approx(expires_at, rel=0, abs=_MILLISECOND)

    def test_a_second_set_replaces_payload_and_expiry(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """Nothing of the earlier entry is left, its expiry neither."""
        backend.set(key, Entry(b"first, longer", rig.clock() + self.lifetime))
        backend.set(key, Entry(b"second", None))
        rig.clock.advance(self.lifetime)
        assert backend.get(key) == Entry(b"second", None)
        backend.set(key, Entry(b"third", rig.clock() + self.lifetime))
        rig.clock.advance(self.lifetime)
        assert backend.get(key) is None

    def test_a_deleted_key_is_gone(self, backend: CacheBackend, key: str) -> None:
        """``delete`` says whether an entry was there."""
        backend.set(key, Entry(b"payload", None))
        assert backend.delete(key) is True
        assert backend.get(key) is None
        assert backend.delete(key) is False
        assert backend.size() == 0

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
    def test_payloads_are_any_bytes(self, backend: CacheBackend, key: str, payload: bytes) -> None:
        """A payload comes back byte by byte, as ``bytes``, by every way of writing and reading."""
        backend.set(key, Entry(payload, None))
        backend.set_many({key + "2": Entry(payload, None)})
        assert backend.compare_and_set(key + "3", None, Entry(payload, None))
        found = backend.get_many([key, key + "2", key + "3"])
        assert [entry.payload for entry in found.values()] == [payload] * 3
        entry = backend.get(key)
        assert entry is not None
        assert type(entry.payload) is bytes
        assert backend.compare_and_set(key, payload, None), "the payload is not equal to itself"

    def test_keys_are_any_text(self, backend: CacheBackend, rig: Rig) -> None:
        """No two keys are taken for each other: not by case, by Unicode form, by number, by syntax."""
        entries = {rig.prefix("quotes") + escape(text): Entry(text.encode(), None) for text in TEXTS}
        backend.set_many(entries)
        assert backend.size() == len(TEXTS)
        assert backend.get_many(entries) == entries
        for key, entry in entries.items():
            assert backend.get(key) == entry
            assert backend.delete(key) is True
            assert backend.get(key) is None
        assert backend.size() == 0

    # --- expiry ------------------------------------------------------------------------------------------------------

    def test_an_entry_lives_until_its_expiry(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """It is there before that moment, and from then on absent to every verb."""
        backend.set_many({key: Entry(b"short", rig.clock() + self.lifetime), key + "2": Entry(b"for ever", None)})
        rig.clock.advance(self.lifetime / 2)
        assert backend.exists(key)
        assert backend.size() == 2
        rig.clock.advance(self.lifetime / 2)
        assert backend.get(key) is None
        assert backend.exists(key) is False
        assert list(backend.get_many([key, key + "2"])) == [key + "2"]
        assert backend.size() == 1
        assert backend.delete(key) is False

    def test_expired_entries_count_nowhere(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """``delete_many`` and ``clear`` count live entries only."""
        entries = {f"{key}{number}": Entry(b"", rig.clock() + self.lifetime) for number in range(4)}
        backend.set_many(entries | {key: Entry(b"", None)})
        rig.clock.advance(self.lifetime)
        assert backend.delete_many([key + "0", key + "1"]) == 0
        assert backend.clear() == 1

    def test_an_entry_set_again_after_its_expiry_is_there(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """What expired leaves no trace."""
        backend.set(key, Entry(b"old", rig.clock() + self.lifetime))
        rig.clock.advance(self.lifetime)
        backend.set(key, Entry(b"new", rig.clock() + self.lifetime))
        entry = backend.get(key)
        assert entry is not None
        assert entry.payload == b"new"
        assert backend.size() == 1

    # --- many keys ---------------------------------------------------------------------------------------------------

    def test_bulk_verbs(self, backend: CacheBackend, key: str) -> None:
        """They do what the single verbs do, for iterables of any kind, with absent and repeated keys."""
        entries = {f"{key}{number}": Entry(b"%d" % number, None) for number in range(300)}
        backend.set_many(entries)
        assert backend.get_many([*entries, key]) == entries
        assert backend.get_many(one for one in [key + "1", key + "1", key]) == {key + "1": Entry(b"1", None)}
        assert backend.delete_many(one for one in [key + "1", key + "2", key]) == 2
        assert backend.delete_many([key + "3", key + "3"]) == 1
        assert backend.size() == 297

    def test_bulk_verbs_without_keys(self, backend: CacheBackend) -> None:
        """Nothing to do is no error."""
        backend.set_many({})
        assert backend.get_many([]) == {}
        assert backend.delete_many([]) == 0

    def test_without_a_bound_nothing_leaves(self, backend: CacheBackend, key: str) -> None:
        """``maxsize=None`` keeps everything."""
        for start in range(0, 3_000, 1_000):
            backend.set_many({f"{key}{number}": Entry(b"", None) for number in range(start, start + 1_000)})
        assert backend.size() == 3_000

    def test_clear_empties_this_cache_and_no_other(self, rig: Rig) -> None:
        """Not even one whose name begins alike."""
        names = ["quotes", "quotes_old", "quote", "quotes-", "quotes1"]
        backends = {name: rig.backend(name) for name in names}
        for name, backend in backends.items():
            backend.set_many({rig.prefix(name) + text: Entry(name.encode(), None) for text in ("a", "b")})
        assert backends["quotes"].clear() == 2
        assert [backends[name].size() for name in names] == [0, 2, 2, 2, 2]
        assert backends["quotes"].clear() == 0
        for name in names[1:]:
            assert backends[name].get(rig.prefix(name) + "a") == Entry(name.encode(), None)

    # --- the atomic step ---------------------------------------------------------------------------------------------

    def test_compare_and_set_adds_where_nothing_is(self, backend: CacheBackend, key: str) -> None:
        """``expected=None`` demands that no live entry is there."""
        assert backend.compare_and_set(key, None, Entry(b"first", None)) is True
        assert backend.compare_and_set(key, None, Entry(b"second", None)) is False
        assert backend.get(key) == Entry(b"first", None)

    def test_compare_and_set_replaces_what_was_seen(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """Payload and expiry are replaced; on a mismatch nothing is, not even part of it."""
        backend.set(key, Entry(b"seen", None))
        for other in (b"see", b"seen ", b"SEEN", b"", None):
            assert backend.compare_and_set(key, other, Entry(b"new", None)) is False
        assert backend.get(key) == Entry(b"seen", None)
        assert backend.compare_and_set(key, b"seen", Entry(b"new", rig.clock() + self.lifetime)) is True
        assert backend.exists(key)
        rig.clock.advance(self.lifetime)
        assert backend.get(key) is None

    def test_compare_and_set_removes_what_was_seen(self, backend: CacheBackend, key: str) -> None:
        """``new=None`` removes the key."""
        backend.set(key, Entry(b"seen", None))
        assert backend.compare_and_set(key, b"other", None) is False
        assert backend.compare_and_set(key, None, None) is False
        assert backend.compare_and_set(key, b"seen", None) is True
        assert backend.get(key) is None
        assert backend.size() == 0

    def test_compare_and_set_of_an_absent_key(self, backend: CacheBackend, key: str) -> None:
        """No payload matches it, the empty one neither."""
        assert backend.compare_and_set(key, b"something", Entry(b"new", None)) is False
        assert backend.compare_and_set(key, b"", Entry(b"new", None)) is False
        assert backend.compare_and_set(key, b"something", None) is False
        assert backend.compare_and_set(key, None, None) is True
        assert backend.size() == 0

    def test_compare_and_set_takes_an_expired_entry_for_absent(self, backend: CacheBackend, key: str, rig: Rig) -> None:
        """Its payload does not match any more, and ``None`` does."""
        backend.set(key, Entry(b"old", rig.clock() + self.lifetime))
        rig.clock.advance(self.lifetime)
        assert backend.compare_and_set(key, b"old", Entry(b"new", None)) is False
        assert backend.get(key) is None
        assert backend.compare_and_set(key, None, Entry(b"new", None)) is True
        assert backend.get(key) == Entry(b"new", None)

    # --- threads -----------------------------------------------------------------------------------------------------

    def test_no_update_is_lost_among_threads(self, backend: CacheBackend, key: str) -> None:
        """Of several threads that exchange the same payload one succeeds."""
        backend.set(key, Entry(b"0", None))

        def count(times: int) -> int:
            for _ in range(times):
                while True:
                    entry = backend.get(key)
                    assert entry is not None
                    new = Entry(b"%d" % (int(entry.payload) + 1), None)
                    if backend.compare_and_set(key, entry.payload, new):
                        break
            return times

        with ThreadPoolExecutor(6) as pool:
            total = sum(pool.map(count, [20] * 6))
        assert backend.get(key) == Entry(b"%d" % total, None)

    def test_threads_write_and_read_at_once(self, backend: CacheBackend, key: str) -> None:
        """Each sees what it wrote itself, whole."""

        def work(thread: int) -> None:
            mine = f"{key}{thread}"
            for turn in range(20):
                payload = b"%d-%d" % (thread, turn) * 50
                backend.set(mine, Entry(payload, None))
                assert backend.get(mine) == Entry(payload, None)
            assert backend.delete(mine) is True

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        assert backend.size() == 0

    def test_closing_twice_is_allowed(self, backend: CacheBackend, key: str) -> None:
        """Used or not."""
        backend.set(key, Entry(b"payload", None))
        backend.close()
        backend.close()

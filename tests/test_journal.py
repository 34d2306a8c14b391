"""The journal of lost deletes: made beforehand, told to every process at once, never forgetting in silence."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.journal import SIZE, SLOTS, Journal
from openalgo_cache.keys import MAX_KEY_BYTES, BlindedKeyspace, Keyspace

KEYSPACE = Keyspace("openalgo", "secrets")
RING = KeyRing.generate()
LOST_AT = 1_000.5


def journal(path: Path, ring: KeyRing = RING, *, collapses: bool = True) -> Journal:
    """Return a journal, as one more process has it."""
    return Journal(path, ring, KEYSPACE.prefix, collapses=collapses)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies; its folder is not there yet."""
    return tmp_path / "db" / "cache_secrets.deletes"


def keys_in(book: Journal) -> set[str | None]:
    """Return what is to be deleted."""
    book.refresh()
    return {entry.stored for entry in book.entries}


def stored(*keys: str) -> list[str]:
    """Return stored keys."""
    return [KEYSPACE.stored(key) for key in keys]


# The file


def test_it_is_there_before_it_is_needed(path: Path) -> None:
    """Private, whole, and with all of its blocks, so that a full disk cannot refuse it."""
    book = journal(path)
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 or os.name == "nt"
    assert status.st_size == SIZE
    if hasattr(status, "st_blocks"):
        assert status.st_blocks * 512 >= SIZE
    assert book.add(stored("a", "b"), LOST_AT)
    assert path.stat().st_size == SIZE


def test_nothing_in_it_shows_a_key(path: Path) -> None:
    """Not even the key of a cache whose store has it readable; nor can slots be told apart by their lengths."""
    journal(path).add(stored("user@example.com", "k" * MAX_KEY_BYTES), LOST_AT)
    content = path.read_bytes()
    assert b"example" not in content
    assert b"kkkk" not in content
    assert b"secrets" not in content


@given(st.text(max_size=120).filter(lambda key: key.isprintable()))
@settings(max_examples=50)
def test_every_key_comes_back(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    """Whatever it is escaped to, blinded or not."""
    blinded = BlindedKeyspace("openalgo", "secrets", None, bytes(32))
    lost = {KEYSPACE.stored(key), blinded.stored(key), KEYSPACE.stored((key, 1, b"\0"))}
    path = tmp_path_factory.mktemp("db") / "cache_secrets.deletes"
    journal(path).add(lost, LOST_AT)
    assert keys_in(journal(path)) == lost


# What processes know of each other


def test_others_know_at_once(path: Path) -> None:
    """By the generation, which every process has in its memory, and so does one that starts later."""
    one, other = journal(path), journal(path)
    assert other.words[0] == other.seen
    one.add(stored("a"), LOST_AT)
    assert other.words[0] != other.seen
    assert keys_in(other) == keys_in(journal(path)) == set(stored("a"))
    assert other.words[0] != other.seen, "something is to be deleted, so every read has to look"


def test_what_was_carried_out_is_struck_out_for_all(path: Path) -> None:
    """Only that: what was lost meanwhile stays."""
    one, other = journal(path), journal(path)
    one.add(stored("a", "b"), LOST_AT)
    other.refresh()
    carried_out = [entry for entry in other.entries if entry.stored == stored("a")[0]]
    one.add(stored("c"), LOST_AT)
    assert other.stands(carried_out[0])
    other.settle(carried_out)
    assert not one.stands(carried_out[0])
    assert keys_in(one) == keys_in(other) == set(stored("b", "c"))
    one.settle(one.entries)
    assert not keys_in(one)
    assert not keys_in(other)
    assert one.words[0] == one.seen
    assert other.words[0] == other.seen


def test_a_key_that_is_lost_again_meanwhile_stays(path: Path) -> None:
    """Whoever strikes out the first loss must not strike out the second, and there is one slot for both."""
    one, other = journal(path), journal(path)
    one.add(stored("a"), LOST_AT)
    other.refresh()
    first = other.entries
    one.add(stored("a"), LOST_AT + 60)
    other.settle(first)
    (left,) = other.entries
    assert (left.stored, left.lost_at) == (stored("a")[0], LOST_AT + 60)


def test_a_generation_is_never_one_of_another_file(path: Path) -> None:
    """What was read under the old one would pass for up to date."""
    seen = set()
    for _ in range(5):
        seen.add(journal(path).words[0])
        path.unlink()
    assert len(seen) == 5


# Full


def test_a_cache_that_loses_more_than_has_room_is_lost_as_a_whole(path: Path) -> None:
    """That takes one slot."""
    book = journal(path)
    book.add(stored(*map(str, range(SLOTS - 1))), LOST_AT)
    assert None not in keys_in(book)
    book.add(stored("x", "y"), LOST_AT)
    assert None in keys_in(journal(path))
    assert book.withholds(*stored("anything"))
    assert book.add(stored("z"), LOST_AT), "the whole includes it"
    book.settle(book.entries)
    assert not keys_in(journal(path))


def test_a_cache_that_is_an_only_copy_is_not(path: Path) -> None:
    """What finds no room is known to this process, which says that it is not on the disk."""
    book = journal(path, collapses=False)
    assert book.add(stored(*map(str, range(SLOTS))), LOST_AT)
    assert not book.add(stored("x"), LOST_AT)
    assert book.problem is not None
    assert "full" in book.problem
    assert book.withholds(*stored("x"))
    assert not book.withholds(*stored("y"))
    assert not journal(path, collapses=False).withholds(*stored("x"))
    book.settle([entry for entry in book.entries if entry.stored == stored("7")[0]])
    assert journal(path, collapses=False).withholds(*stored("x")), "there is room now"


# Other key rings


def test_what_belongs_to_another_key_ring_is_left_alone(path: Path) -> None:
    """With another ring nothing of ours can be read, and nothing is deleted; with ours it goes on."""
    journal(path).add(stored("a"), LOST_AT)
    before = path.read_bytes()
    other = journal(path, KeyRing.generate())
    assert not other.entries
    assert other.damaged == 0
    assert path.read_bytes() == before
    other.add(stored("b"), LOST_AT)
    assert keys_in(journal(path)) == set(stored("a"))
    assert keys_in(other) == set(stored("b"))


# Damage


def flip(path: Path, offset: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_no_flipped_bit_of_a_slot_is_overlooked(path: Path) -> None:
    """Whichever it is: the key is still withheld. Either it can be read yet, or the whole cache is."""
    journal(path).add(stored("a"), LOST_AT)
    whole = path.read_bytes()
    start = whole.index(bytes.fromhex(RING.fingerprint()))
    for offset in range(start, start + 576):
        flip(path, offset)
        book = journal(path)
        assert book.withholds(*stored("a")), offset
        is_fingerprint = not 8 <= offset - start < 568
        assert book.damaged == (0 if is_fingerprint else 1)
        assert book.withholds(*stored("b")) is not is_fingerprint
        path.write_bytes(whole)


def test_an_only_copy_is_not_cleared_for_a_damaged_slot(path: Path) -> None:
    """It is reported."""
    journal(path).add(stored("a"), LOST_AT)
    flip(path, path.read_bytes().index(bytes.fromhex(RING.fingerprint())) + 100)
    book = journal(path, collapses=False)
    assert not book.entries
    assert book.damaged == 1


def test_a_slot_can_neither_be_moved_nor_planted(path: Path) -> None:
    """It is sealed for its place, and for its cache."""
    journal(path).add(stored("a"), LOST_AT)
    content = path.read_bytes()
    start = content.index(bytes.fromhex(RING.fingerprint()))
    moved = bytearray(content)
    moved[start : start + 576], moved[start + 576 : start + 1152] = bytes(576), content[start : start + 576]
    path.write_bytes(moved)
    assert journal(path, collapses=False).damaged == 1
    path.write_bytes(content)
    assert Journal(path, RING, Keyspace("openalgo", "other").prefix, collapses=False).damaged == 1


def replace_by_a_folder(path: Path) -> None:
    """Put a folder where the file was."""
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "cut in a slot": lambda path: path.write_bytes(path.read_bytes()[:4300]),
    "cut at the end": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "overwritten": lambda path: path.write_bytes(b"hello\n" * (SIZE // 6)),
    "zeroed": lambda path: path.write_bytes(bytes(SIZE)),
    "of another version": lambda path: path.write_bytes(b"OACLOST9" + path.read_bytes()[8:]),
    "replaced by a folder": replace_by_a_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_withholds_everything(path: Path, damage: str) -> None:
    """Something may have been forgotten. It is mended, and once the cache was cleared all is well."""
    journal(path).add(stored("a"), LOST_AT)
    DAMAGES[damage](path)
    book = journal(path)
    assert book.withholds(*stored("a"))
    assert book.withholds(*stored("b"))
    book.settle(book.entries)
    assert not keys_in(book)
    if path.is_file():
        assert path.stat().st_size == SIZE
        assert not keys_in(journal(path))
        assert book.add(stored("c"), LOST_AT)
        assert keys_in(journal(path)) == set(stored("c"))


def test_a_file_that_is_deleted_is_made_again_by_who_knew_it(path: Path) -> None:
    """With what it held."""
    one = journal(path)
    one.add(stored("a"), LOST_AT)
    path.unlink()
    one.add(stored("b"), LOST_AT)
    assert keys_in(journal(path)) == set(stored("a", "b"))


# No file


@pytest.fixture
def blocked(path: Path) -> Path:
    """A place where no file can be made, not even by root."""
    path.parent.write_text("a file in place of the folder")
    return path


def test_without_a_file_this_process_still_knows(blocked: Path) -> None:
    """And says that nobody else does. When the file can be made, it is."""
    book = journal(blocked)
    assert book.problem is not None
    assert book.words[0] == book.seen
    assert not book.add(stored("a"), LOST_AT)
    assert book.withholds(*stored("a"))
    assert book.words[0] != book.seen
    blocked.parent.unlink()
    assert book.add(stored("b"), LOST_AT)
    assert book.problem is None
    assert keys_in(journal(blocked)) == set(stored("a", "b"))


def test_what_only_this_process_knows_is_struck_out_too(blocked: Path) -> None:
    """Then reads cost nothing again."""
    book = journal(blocked)
    before = book.words[0]
    book.add(None, LOST_AT)
    (entry,) = book.entries
    assert book.stands(entry)
    book.settle([entry])
    assert not book.stands(entry)
    assert not book.entries
    assert book.words[0] == book.seen != before


def test_the_time_of_a_forgotten_loss_is_later_than_all(path: Path) -> None:
    """So that no record passes for newer."""
    journal(path)
    path.write_bytes(b"")
    (entry,) = journal(path).entries
    assert entry.lost_at == math.inf

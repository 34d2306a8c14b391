"""What writers announce: nobody else can, and nothing goes missing unnoticed."""

from __future__ import annotations

from typing import Any

import pytest

from openalgo_cache.backends.invalidation import announcements
from openalgo_cache.backends.invalidation.announcements import Announcement, Announcer, Sequence, open_sealed, seal
from openalgo_cache.errors import BackendUnavailableError

SECRET = b"k" * 32
CHANNEL = "openalgo:!changes"
WRITER = b"w" * 16
KEYS = ["openalgo:a:NIFTY 50", "openalgo:a:नि", "openalgo:b:" + "x" * 512]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock: its only element."""
    hands = [1000.0]
    monkeypatch.setattr(announcements, "monotonic", lambda: hands[0])
    return hands


def test_a_message_says_what_was_put_in() -> None:
    """Keys of any length and script; a frozen example keeps versions apart from each other talking."""
    message = seal(SECRET, CHANNEL, WRITER, 7, KEYS)
    assert open_sealed(SECRET, CHANNEL, message) == Announcement(WRITER, 7, [key.encode() for key in KEYS])
    assert open_sealed(SECRET, CHANNEL, seal(SECRET, CHANNEL, WRITER, 1, [])) == Announcement(WRITER, 1, [])
    assert seal(SECRET, CHANNEL, WRITER, 1, ["k"]).hex() == (
        "9e8d1f124bb0994570102e8c342172b377777777777777777777777777777777000000000000000100016b"
    )


def test_a_message_of_somebody_else_is_none() -> None:
    """One changed bit, another key, another channel, a part: nothing of it is read."""
    message = seal(SECRET, CHANNEL, WRITER, 7, KEYS[:1])
    for place in range(len(message)):
        for bit in range(8):
            changed = bytearray(message)
            changed[place] ^= 1 << bit
            assert open_sealed(SECRET, CHANNEL, bytes(changed)) is None
    for length in range(len(message)):
        assert open_sealed(SECRET, CHANNEL, message[:length]) is None
    assert open_sealed(SECRET, CHANNEL, message + b"\0") is None
    assert open_sealed(b"o" * 32, CHANNEL, message) is None
    assert open_sealed(SECRET, "openalgo@other:!changes", message) is None


def told(number: int, writer: bytes = WRITER) -> Announcement:
    """Return a message of a number."""
    return Announcement(writer, number, [])


def test_a_gap_is_noticed(now: list[float]) -> None:
    """When the missing one is overdue; a writer's threads may overtake each other."""
    sequence = Sequence()
    assert not sequence.has_gap(told(1))
    assert not sequence.has_gap(told(3))
    assert not sequence.is_overdue()
    assert not sequence.has_gap(told(2))
    now[0] += 1
    assert not sequence.is_overdue()
    assert not sequence.has_gap(told(5))
    now[0] += 1
    assert sequence.is_overdue()
    assert not sequence.is_overdue()
    assert sequence.has_gap(told(1000)), "too many to wait for"


def test_a_writer_that_is_met_in_the_middle_is_a_gap(now: list[float]) -> None:
    """What it announced just before may be what was lost."""
    sequence = Sequence()
    assert not sequence.has_gap(told(1))
    assert sequence.has_gap(told(2, b"o" * 16))
    assert not sequence.has_gap(told(3, b"o" * 16))
    assert not sequence.has_gap(told(2))


def test_writers_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process is one."""
    monkeypatch.setattr(announcements, "_WRITERS_MOST", 5)
    sequence = Sequence()
    for number in range(50):
        sequence.has_gap(told(1, number.to_bytes(16, "big")))
        assert len(sequence._last) <= 5


class Store:
    """Answers as a server would, and counts."""

    def __init__(self) -> None:
        self.marked = False
        self.fails = False
        self.looks = 0
        self.published: list[Announcement] = []

    def call(self, key: str, *words: Any) -> Any:
        """Take a command."""
        if words[0] == "GET":
            self.looks += 1
        if self.fails:
            raise BackendUnavailableError("away")
        if words[0] == "GET":
            return b"mark" if self.marked else None
        message = open_sealed(SECRET, words[1], words[2])
        assert message is not None
        self.published.append(message)
        return 1


def test_where_nobody_listens_a_look_a_second_is_all(now: list[float]) -> None:
    """And from the second in which somebody does, everything is announced."""
    store, announcer = Store(), Announcer("openalgo:", lambda: SECRET)
    for _ in range(100):
        announcer.changed(["k"], store.call)
        now[0] += 0.1
    assert 9 <= store.looks <= 11
    assert store.published == []
    store.marked = True
    now[0] += 1
    for _ in range(3):
        announcer.changed(["k"], store.call)
    assert [message.number for message in store.published] == [1, 2, 3]
    assert {message.writer for message in store.published} == {announcer._writer}


def test_it_goes_on_for_a_while_when_the_mark_is_gone(now: list[float]) -> None:
    """Those who listen need a moment to notice."""
    store, announcer = Store(), Announcer("openalgo:", lambda: SECRET)
    store.marked = True
    announcer.changed(["k"], store.call)
    store.marked = False
    now[0] += 4.9
    announcer.changed(["k"], store.call)
    now[0] += 0.2
    announcer.changed(["k"], store.call)
    assert len(store.published) == 2


def test_a_message_that_could_not_be_sent_is_missed(now: list[float]) -> None:
    """Its number is left out, and whether anybody listens is not known either."""
    store, announcer = Store(), Announcer("openalgo:", lambda: SECRET)
    store.fails = True
    announcer.changed(["k"], store.call)
    store.fails = False
    announcer.changed(["k"], store.call)
    assert [message.number for message in store.published] == [2]


def test_a_child_is_another_writer() -> None:
    """Otherwise two would use the same numbers."""
    announcer = Announcer("openalgo:", lambda: SECRET)
    before = announcer._writer
    announcer.renew()
    assert announcer._writer != before

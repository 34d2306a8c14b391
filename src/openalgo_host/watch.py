"""Noticing what changes, for open pages: one thread looks for all of them, and only while somebody watches."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from openalgo_cache import CacheError

_log = logging.getLogger("openalgo_host")

_BEAT: Final = 0.5
"""Seconds between two looks."""

Look = Callable[[int], object]
"""Returns, for a user's number, something that is another one whenever what it looks at has changed."""


class CrowdedError(Exception):
    """As many watch already as there are threads to spare, or the host is being stopped."""


class _Topic(NamedTuple):
    name: str
    every: float
    look: Look


class Watch:
    """What there is to notice, and who waits for it.

    Args:
        most: How many may watch at once: each of them holds a thread of the server.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._topics: list[_Topic] = []
        self._watchers: Counter[int] = Counter()
        self._seen: dict[int, dict[str, object]] = {}
        self._failing: set[str] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False

    def topic(self, name: str, every: float, look: Look) -> None:
        """Watch something.

        Args:
            name: What pages know it by.
            every: Seconds between two looks.
            look: Looks at it.
        """
        self._topics.append(_Topic(name, every, look))

    @property
    def topics(self) -> list[str]:
        """The names of all topics."""
        return [topic.name for topic in self._topics]

    def join(self, user_id: int) -> Watcher:
        """Begin to watch what a user has: whatever changes from now on is noticed. The watcher has to leave some time.

        Raises:
            CrowdedError: There is no place.
        """
        with self._changed:
            if self._ended or self._watchers.total() >= self._most:
                raise CrowdedError
            self._watchers[user_id] += 1
            if self._thread is None:  # not before: threads do not survive the fork of a server's workers
                self._thread = threading.Thread(target=self._run, name="openalgo-host watch", daemon=True)
                self._thread.start()
        try:
            known = self._look(user_id, self._topics)
        except BaseException:
            self._leave(user_id)
            raise
        return Watcher(self, user_id, known)

    def end(self) -> None:
        """Let everybody stop to watch, at once; may be called by a signal's handler."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """End, and wait for the thread that looks."""
        self.end()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due: dict[str, float] = {}
        while (users := self._await_users()) is not None:
            now = monotonic()
            topics = [topic for topic in self._topics if due.get(topic.name, now) <= now]
            due |= {topic.name: now + topic.every for topic in topics}
            try:
                for user_id in users:
                    self._look(user_id, topics)
            except Exception:  # noqa: BLE001  # a flaw in one look must not end all for good
                _log.exception("looking for changes failed")

    def _await_users(self) -> list[int] | None:
        """Return for whom to look next, a beat later; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, _BEAT)
            self._changed.wait_for(lambda: self._ended or self._watchers)
            return None if self._ended else list(self._watchers)

    def _look(self, user_id: int, topics: list[_Topic]) -> dict[str, object]:
        found: dict[str, object] = {}
        for topic in topics:  # outside the lock: it asks the database
            try:
                found[topic.name] = topic.look(user_id)
                self._failing.discard(topic.name)
            except (SQLAlchemyError, CacheError) as error:  # the others go on
                if topic.name not in self._failing:
                    _log.warning("open pages: no news of %s until this is over: %s", topic.name, type(error).__name__)
                self._failing.add(topic.name)
        with self._changed:
            before = self._seen.get(user_id, {})
            seen = before | found
            if seen != before and self._watchers[user_id]:
                self._seen[user_id] = seen
                self._changed.notify_all()
            return seen

    def _leave(self, user_id: int) -> None:
        with self._changed:
            self._watchers[user_id] -= 1
            if not self._watchers[user_id]:
                del self._watchers[user_id]
                self._seen.pop(user_id, None)


class Watcher:
    """One who watches.

    Args:
        watch: What is watched.
        user_id: Whose it is.
        known: What was seen when this began.
    """

    def __init__(self, watch: Watch, user_id: int, known: dict[str, object]) -> None:
        self._watch = watch
        self._user_id = user_id
        self._known = known
        self._left = False

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._left or self._watch._ended  # noqa: SLF001  # its other half

    def wait(self, seconds: float) -> list[str]:
        """Wait until something changes, or everything ends; return the names of the topics, none if nothing did.

        Args:
            seconds: How long at most.
        """
        watch = self._watch
        with watch._changed:  # noqa: SLF001  # likewise
            watch._changed.wait_for(lambda: self.ended or self._news(), seconds)  # noqa: SLF001
            news = self._news()
            self._known |= news
            return list(news)

    def leave(self) -> None:
        """Stop to watch; harmless if that was done."""
        if not self._left:
            self._left = True
            self._watch._leave(self._user_id)  # noqa: SLF001  # likewise

    def _news(self) -> dict[str, object]:
        seen = self._watch._seen.get(self._user_id, {})  # noqa: SLF001  # likewise
        return {name: value for name, value in seen.items() if self._known.get(name) != value}

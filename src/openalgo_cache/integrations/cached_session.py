"""One visitor's session, as a request sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

from flask.sessions import SessionMixin

from openalgo_cache.codec.serializers import dumps, loads
from openalgo_cache.errors import UnreadableRecordError, UnsupportedValueError
from openalgo_cache.integrations.merge import Fields, merge

_log = logging.getLogger("openalgo_cache")


class Record(TypedDict):
    """What the cache holds of a session: when it was stored (seconds since the epoch), and what."""

    at: float
    fields: Fields


class CachedSession(SessionMixin):
    """One visitor's session: a dictionary that is read from the store when it is first used.

    Values may be of any type that a cache can store, and come back as that type. A change inside a value counts as a
    change; ``modified`` need not be set.

    Args:
        identity: The number that the visitor's cookie holds; None without a cookie.
        fetch: Returns the record in the store under a number, or None.

    Attributes:
        identity: The number under which the session is in the store; None if it is not.
        written_at: When it was stored, in seconds since the epoch.
        before: What it held then.
        renewed: Whether it is to go on under a new number.
        cleared: Whether everything that was there is to go, also what other requests put in meanwhile.
    """

    def __init__(self, identity: str | None, fetch: Callable[[str], Record | None]) -> None:
        self._fetch = fetch
        self._values: dict[str, Any] | None = None
        self.identity = identity
        self.written_at = 0.0
        self.before: Fields = {}
        self.renewed = False
        self.cleared = False

    def clear(self) -> None:
        """Empty the session, whatever other requests put in meanwhile."""
        self._load().clear()
        self.cleared = True

    def renew(self) -> None:
        """Let the session go on under a new number; the old one leads nowhere from then on."""
        self.renewed = True

    @property
    def is_loaded(self) -> bool:
        """Whether this request used the session."""
        return self._values is not None

    def fields(self) -> Fields:
        """Return what the session holds now; for what this request did not change, the very bytes that were read.

        Raises:
            UnsupportedValueError: A value would not come back equal and of the same type.
        """
        fields = {}
        for name, value in self._load().items():
            try:
                data = dumps(value)
            except UnsupportedValueError as error:
                raise UnsupportedValueError(f"session[{name!r}]: {error}") from None
            before = self.before.get(name)
            # The parts of a set have no order that lasts: bytes that were read may be written as others.
            is_same = before is not None and data in (before, dumps(loads(before)))
            fields[name] = before if before is not None and is_same else data
        return fields

    def merged(self, there: Fields, mine: Fields) -> Fields:
        """Return what is to be stored, if the session holds ``mine`` and the store holds what is ``there`` now.

        Raises:
            SessionConflict: Another request changed a field of ``mine`` in another way.
        """
        return mine if self.cleared else merge(self.before, there, mine)

    def _load(self) -> dict[str, Any]:
        if self._values is None:
            record = None if self.identity is None else self._fetch(self.identity)
            try:
                values = {} if record is None else {name: loads(data) for name, data in record["fields"].items()}
            except UnreadableRecordError as error:  # it holds an instance of a class that is registered no more
                _log.warning("a session cannot be read, and is left alone: %s", error)
                record, values = None, {}
            if record is None:
                self.identity, self.new = None, True
            else:
                self.written_at, self.before = record["at"], record["fields"]
            self._values = values
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._load()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._load()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {'used' if self.is_loaded else 'not used'} by this request>"

"""A backend that fails when it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, TypeVar

from openalgo_cache.backends.base import (
    CacheBackend,
    Entry,
    InvalidationListener,
    Request,
    SupportsInvalidation,
    SupportsScan,
    TokenListener,
    has_change_token,
)
from openalgo_cache.errors import BackendUnavailableError

T = TypeVar("T")

_FOREVER: Final = -1


class ChaosBackend(CacheBackend):
    """Hands every verb to ``inner``, or raises ``BackendUnavailableError`` where a failure was ordered.

    It can list, has a change token, or tells of changes, if and only if ``inner`` does.

    Args:
        inner: The backend that does the work.

    Attributes:
        calls: How often each verb was called, failures included.
    """

    READS: ClassVar = frozenset({"get", "exists", "get_many", "size", "scan", "change_token"})
    WRITES: ClassVar = frozenset({"set", "set_many", "delete", "delete_many", "clear", "compare_and_set"})

    def __new__(cls, inner: CacheBackend) -> ChaosBackend:  # noqa: PYI034  # Self would hide that it is a subclass
        """Make an instance that has the optional capabilities of ``inner``, and no others."""
        extra: list[type] = []
        if isinstance(inner, SupportsScan):
            extra.append(_Scanning)
        if has_change_token(inner):
            extra.append(_Watched)
        if isinstance(inner, SupportsInvalidation):
            extra.append(_Telling)
        made: ChaosBackend = super().__new__(type(cls.__name__, (*extra, cls), {}))
        return made

    def __init__(self, inner: CacheBackend) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, tuple[str, int]] = {}

    @classmethod
    def create(cls, request: Request) -> CacheBackend:
        """Raise TypeError: there is nothing to wrap in a request."""
        del request
        raise TypeError("a ChaosBackend is made around another backend: ChaosBackend(inner)")

    def fail(self, *verbs: str, when: Literal["before", "after"] = "before", times: int | None = None) -> None:
        """Order failures. An order for a verb replaces an earlier one.

        Args:
            *verbs: The verbs of the backend that fail; all of them if none is named. Which of them a cache uses is its
                own affair: ``READS`` and ``WRITES`` name all that look and all that change.
            when: Whether the store does not do what is asked, or does it and the answer is lost.
            times: After how many failures the verb works again; None for not before :meth:`heal`.
        """
        for verb in verbs or self.READS | self.WRITES:
            if verb not in self.READS | self.WRITES:
                raise ValueError(f"a backend has no verb {verb!r}")
            self._faults[verb] = (when, _FOREVER if times is None else times)

    def heal(self) -> None:
        """Take all orders back."""
        self._faults.clear()

    def get(self, key: str) -> Entry | None:  # noqa: D102  # see CacheBackend
        return self._through("get", lambda: self.inner.get(key))

    def set(self, key: str, entry: Entry) -> None:  # noqa: D102
        self._through("set", lambda: self.inner.set(key, entry))

    def delete(self, key: str) -> bool:  # noqa: D102
        return self._through("delete", lambda: self.inner.delete(key))

    def clear(self) -> int:  # noqa: D102
        return self._through("clear", self.inner.clear)

    def size(self) -> int:  # noqa: D102
        return self._through("size", self.inner.size)

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: D102
        return self._through("compare_and_set", lambda: self.inner.compare_and_set(key, expected, new))

    def exists(self, key: str) -> bool:  # noqa: D102
        return self._through("exists", lambda: self.inner.exists(key))

    def get_many(self, keys: Iterable[str]) -> dict[str, Entry]:  # noqa: D102
        return self._through("get_many", lambda: self.inner.get_many(keys))

    def set_many(self, entries: Mapping[str, Entry]) -> None:  # noqa: D102
        self._through("set_many", lambda: self.inner.set_many(entries))

    def delete_many(self, keys: Iterable[str]) -> int:  # noqa: D102
        return self._through("delete_many", lambda: self.inner.delete_many(keys))

    def close(self) -> None:  # noqa: D102
        self.inner.close()

    def _through(self, verb: str, call: Callable[[], T]) -> T:
        self.calls[verb] += 1
        when = self._due(verb)
        if when == "before":
            raise BackendUnavailableError(f"{verb}: the store is made to fail, and did nothing")
        result = call()
        if when == "after":
            raise BackendUnavailableError(f"{verb}: the store is made to fail, after it did what was asked")
        return result

    def _due(self, verb: str) -> str | None:
        when, left = self._faults.get(verb, (None, 0))
        if when is not None and left != _FOREVER:
            if left > 1:
                self._faults[verb] = (when, left - 1)
            else:
                del self._faults[verb]
        return when


class _Scanning:
    """The capability of SupportsScan."""

    inner: Any
    _through: Any

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield what ``inner`` yields; a failure comes with the first step."""
        yield from self._through("scan", lambda: self.inner.scan(prefix))


class _Watched:
    """The capability of SupportsChangeToken."""

    inner: Any
    _through: Any

    @property
    def change_token(self) -> Sequence[int]:
        """Return the words of ``inner``."""
        words: Sequence[int] = self._through("change_token", lambda: self.inner.change_token)
        return words

    def watch(self, listener: TokenListener) -> None:
        """Let ``inner`` tell ``listener``."""
        self.inner.watch(listener)


class _Telling:
    """The capability of SupportsInvalidation."""

    inner: Any

    def subscribe(self, listener: InvalidationListener) -> None:
        """Let ``inner`` tell ``listener``."""
        self.inner.subscribe(listener)

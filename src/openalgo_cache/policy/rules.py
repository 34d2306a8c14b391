"""Access rules: for each cache, and each right to it, the patterns of the modules that have that right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

Right = Literal["read", "write", "clear"]
Rights = frozenset[Right]

RIGHTS: Final[tuple[Right, ...]] = ("read", "write", "clear")

READ: Final[Rights] = frozenset({"read"})
WRITE: Final[Rights] = frozenset({"write"})
CLEAR: Final[Rights] = frozenset({"clear"})
READ_AND_WRITE: Final[Rights] = READ | WRITE
ALL: Final[Rights] = frozenset(RIGHTS)

Patterns = tuple[str, ...]


class Grant(NamedTuple):
    """Who has which right to a cache: patterns of dotted module names, as those of ``fnmatchcase``.

    Attributes:
        read: Who may look: ``get``, ``exists``, ``ttl``, ``keys``, ``size`` and so on.
        write: Who may change entries: ``set``, ``delete``, ``touch`` and so on, and take locks.
        clear: Who may end all entries, or those of a tag.
    """

    read: Patterns = ()
    write: Patterns = ()
    clear: Patterns = ()

    @classmethod
    def of(cls, patterns: Patterns) -> Grant:
        """Return the grant of every right to the same modules."""
        return cls(patterns, patterns, patterns)

    def pattern(self, module: str, right: Right) -> str | None:
        """Return the pattern that gives a module a right; None if none does."""
        patterns: Patterns = getattr(self, right)
        return next((pattern for pattern in patterns if fnmatchcase(module, pattern)), None)

    def rights(self, module: str) -> Rights:
        """Return the rights of a module."""
        return frozenset(right for right in RIGHTS if self.pattern(module, right) is not None)

    def describe(self, right: Right) -> str:
        """Say in words who has a right."""
        return ", ".join(getattr(self, right)) or "nobody"


_NOBODY: Final = Grant()


@dataclass(frozen=True, slots=True)
class Rules:
    """The access rules that are in effect. What they do not allow is denied.

    Attributes:
        name: What messages call them: ``catalogue``, or the path of the file.
        caches: The grants by the names of caches.
        default: The grant of caches that are not named.
    """

    name: str
    caches: Mapping[str, Grant]
    default: Grant = _NOBODY

    def grant(self, cache: str) -> Grant:
        """Return who may use a cache."""
        return self.caches.get(cache, self.default)

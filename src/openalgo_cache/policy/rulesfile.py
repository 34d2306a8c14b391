"""A file of access rules: TOML that only its owner can change."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from openalgo_cache import files
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.policy.access import CATALOGUE, catalogue_rules
from openalgo_cache.policy.rules import RIGHTS, Grant, Patterns, Rules

_MEMBERS: Final = ("extends", "default", "caches")
_CACHE_NAME: Final = r"[a-z0-9_-]{1,64}"
_PATTERN: Final = r"[\w.*?\[\]!-]+"
_MOST_BYTES: Final = 1 << 20


def load_rules(where: str | Path) -> Rules:
    """Return the rules that CACHE_ACCESS_RULES names: ``catalogue``, or those of a file.

    Raises:
        ConfigurationError: The file cannot be read, others can change it, or it does not say what it should; the
            message has a line for each fault, with its place and the fix.
    """
    if where == CATALOGUE:
        return catalogue_rules()
    path = Path(where)
    return _Reading(path, _tables(path)).rules()


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            problem = files.check_unwritable(path, os.fstat(file.fileno()))
            problem = problem or files.check_unwritable(path.parent, path.parent.stat())
            if problem is not None:
                raise ConfigurationError(f"CACHE_ACCESS_RULES: whoever can change the access rules has none: {problem}")
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:  # what was cut off might be what narrows the rest
            raise ConfigurationError(f"CACHE_ACCESS_RULES: {path} is larger than {_MOST_BYTES:,} bytes")
    except OSError as error:
        raise ConfigurationError(
            f"CACHE_ACCESS_RULES: {path} cannot be read ({error.strerror}): correct the path, write catalogue for the "
            "catalogue's own rules, or remove the variable"
        ) from None
    try:
        return tomllib.loads(text.decode())
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"CACHE_ACCESS_RULES: {path} is not UTF-8 (at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"CACHE_ACCESS_RULES: {path} is not TOML: {error}") from None
    except (ValueError, RecursionError):
        raise ConfigurationError(f"CACHE_ACCESS_RULES: {path} nests too deeply, or has too long a number") from None


class _Reading:
    """Turns the tables of a file into rules, and finds all of their faults."""

    def __init__(self, path: Path, tables: dict[str, Any]) -> None:
        self._path = path
        self._tables = tables
        self._faults: list[str] = []

    def rules(self) -> Rules:
        for member in sorted(set(self._tables) - set(_MEMBERS)):
            self._fault(member, f"is not known here: a rules file has {', '.join(_MEMBERS)}")
        extends = self._tables.get("extends")
        if extends is not None and extends != CATALOGUE:
            self._fault("extends", f"can only be {CATALOGUE!r}")
        caches = dict(catalogue_rules().caches) if extends == CATALOGUE else {}
        named = self._tables.get("caches", {})
        if not isinstance(named, dict):
            self._fault("caches", "is a table: write [caches], and below it NAME = [patterns]")
            named = {}
        for name, said in named.items():
            self._check_name(name)
            caches[name] = self._grant(f"caches.{name}", said)
        default = self._grant("default", self._tables.get("default", []))
        if self._faults:
            lines = ["CACHE_ACCESS_RULES: these access rules cannot work:", *self._faults]
            raise ConfigurationError("\n  ".join(lines))
        return Rules(str(self._path), MappingProxyType(caches), default)

    def _fault(self, place: str, problem: str) -> None:
        self._faults.append(f"{self._path}: {place} {problem}")

    def _check_name(self, name: str) -> None:
        if re.fullmatch(_CACHE_NAME, name) is None:
            self._fault(f"caches.{name!r}", "names no cache: names are 1 to 64 of the characters a-z 0-9 _ -")
        known, short = catalogue_rules().caches, name.removesuffix("_cache")
        if name not in known and short in known:
            self._fault(f"caches.{name}", f"names no cache of the catalogue: it is called {short}")

    def _grant(self, place: str, said: object) -> Grant:
        if isinstance(said, dict):
            for right in sorted(set(said) - set(RIGHTS)):
                self._fault(f"{place}.{right}", f"is no right: there are {', '.join(RIGHTS)}")
            return Grant(*(self._patterns(f"{place}.{right}", said.get(right, [])) for right in RIGHTS))
        return Grant.of(self._patterns(place, said))

    def _patterns(self, place: str, said: object) -> Patterns:
        if not isinstance(said, list):
            self._fault(place, 'is a list of patterns of module names, such as ["services.*"]')
            return ()
        for number, pattern in enumerate(said, 1):
            if not isinstance(pattern, str) or re.fullmatch(_PATTERN, pattern) is None or pattern.endswith(".py"):
                self._fault(
                    f"{place}, pattern {number},",
                    "is no pattern of dotted module names, such as database.auth_db or services.*",
                )
        return tuple(pattern for pattern in said if isinstance(pattern, str))

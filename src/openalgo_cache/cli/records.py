"""What ``get``, ``set``, ``delete``, ``list`` and ``clear`` do."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sized
from dataclasses import dataclass
from getpass import getpass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.catalogue import Durability, policy_of
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Pen, count, date, show, span
from openalgo_cache.cli.session import RefusedError, Session
from openalgo_cache.cli.shapes.entries import Cleared, Deleted, Got, Keys, Listed, Stored
from openalgo_cache.errors import InvalidKeyError, UnreadableRecordError
from openalgo_cache.keys import Key, parse, text
from openalgo_cache.sentinels import DEFAULT, MISSING, Ttl

if TYPE_CHECKING:
    from openalgo_cache.cache import Cache

STDIN: Final = "-"
_NEVER: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cache is meant, how its application opens it, and how the answer is printed."""

    env_file: Path | None
    name: str
    as_json: bool
    encrypted: bool = False
    blinded: bool = False

    def session(self) -> Session:
        """Begin the run."""
        return Session(self.env_file, as_json=self.as_json)

    def found(self, session: Session) -> Cache | None:
        """Return the cache, if anything was ever stored in it."""
        return session.find(self.name, encrypted=self.encrypted, blinded=self.blinded)


def get(target: Target, given: str, *, typed: bool, reveal: bool) -> Code:
    """Show an entry, its value only if that is asked for."""
    key = _key(given, typed=typed)
    report = Got(
        cache=target.name, key="", found=False, type=None, size=None, expires_at=None, value=None, encoding=None
    )
    with target.session() as session:
        cache = target.found(session)
        report["key"] = _shown(cache, key)
        if cache is not None:
            value = cache.get(key, MISSING)
            _refuse_unreadable(cache)
            if value is not MISSING:
                _describe(report, value, reveal=reveal)
                report["expires_at"] = _expires_at(cache, key, session.now())
        now = session.now()
    show(report, lambda pen: _draw_entry(pen, report, now), as_json=target.as_json)
    return Code.OK if report["found"] else Code.NO


def put(  # noqa: PLR0913  # what the command takes
    target: Target, given: str, value: str, *, ttl: str | None, typed: bool, is_json: bool
) -> Code:
    """Store a value."""
    key, lifetime = _key(given, typed=typed), _lifetime(ttl)
    content = _value(_read_stdin() if value == STDIN else value, is_json=is_json)
    with target.session() as session:
        cache = session.open(target.name, encrypted=target.encrypted, blinded=target.blinded)
        cache.set(key, content, lifetime)
        report = Stored(cache=target.name, key=_shown(cache, key), expires_at=_expires_at(cache, key, session.now()))
        now = session.now()
    expires_at = report["expires_at"]
    lasts = "it never expires" if expires_at is None else f"it expires in {span(expires_at - now)}"
    show(report, lambda pen: pen.line(f"Stored in {target.name}; {lasts}."), as_json=target.as_json)
    return Code.OK


def delete(target: Target, given: list[str], *, typed: bool) -> Code:
    """Remove keys."""
    keys = {text(key): key for key in (_key(one, typed=typed) for one in given)}
    report = Deleted(cache=target.name, asked=len(keys), deleted=0)
    with target.session() as session:
        if (cache := target.found(session)) is not None:
            report["deleted"] = cache.delete_many(keys.values())
    of = f"{report['deleted']:,} of {report['asked']:,}"
    show(report, lambda pen: pen.line(f"Deleted {of} from {target.name}."), as_json=target.as_json)
    return Code.OK if report["deleted"] == report["asked"] else Code.NO


def list_keys(target: Target, *, prefix: str, limit: int) -> Code:
    """List keys."""
    report = Keys(cache=target.name, keys=[], more=False, unreadable=0)
    with target.session() as session:
        if target.blinded or policy_of(target.name, session.settings).blinded:
            raise RefusedError(
                f"the cache {target.name!r} stores keyed hashes in place of its keys, so nobody can list them: "
                f"'stats {target.name}' counts the entries, and 'get {target.name} KEY' finds one whose key you know"
            )
        if (cache := target.found(session)) is not None:
            found = list(islice(cache.keys(prefix), limit + 1 if limit else None))
            report["more"] = bool(limit) and len(found) > limit
            shown = found[:limit] if limit else found
            report["keys"] = [Listed(key=text(key), type=type(key).__name__) for key in shown]
            report["unreadable"] = cache.stats()["rejected"]
    show(report, lambda pen: _draw_keys(pen, report), as_json=target.as_json)
    return Code.OK if report["keys"] else Code.NO


def clear(target: Target, *, confirmed: bool, state: bool) -> Code:
    """Remove every entry of a cache."""
    report = Cleared(cache=target.name, cleared=0)
    with target.session() as session:
        cache = target.found(session)
        if cache is not None:
            if cache.policy.durability is Durability.STATE and not state:
                raise RefusedError(
                    f"the cache {target.name!r} is the only copy of what it holds: say --state too if all shall go"
                )
            if target.as_json and not confirmed:
                raise RefusedError("with --json nobody is asked: say --yes")
            if not confirmed and not _confirm(f"Remove all of {target.name} (entries: {cache.size():,})?"):
                sys.stderr.write("Nothing was removed.\n")
                return Code.NO
            report["cleared"] = cache.clear()
    show(report, lambda pen: pen.line(f"Removed {report['cleared']:,} from {target.name}."), as_json=target.as_json)
    return Code.OK


def _key(given: str, *, typed: bool) -> Key:
    """Return the key that was typed.

    Raises:
        InvalidKeyError: It cannot be one, or it is not written as ``list`` writes keys.
    """
    if not typed:
        text(given)
        return given
    try:
        key = parse(given)
        if text(key) == given:
            return key
    except (ValueError, RecursionError):
        pass
    raise InvalidKeyError("with --typed-key a key is written as 'keys' prints it, such as !i2026 for the int 2026")


def _shown(cache: Cache | None, key: Key) -> str:
    """Return a key as it may be printed."""
    return cache.shown(key) if cache is not None and cache.policy.blinded else text(key)


def _refuse_unreadable(cache: Cache) -> None:
    if cache.stats()["rejected"]:
        raise UnreadableRecordError(
            f"there is an entry in the cache {cache.name!r}, but it cannot be verified or read: it is damaged, was "
            "written with another key ring, or is of a type that only its application knows"
        )


def _describe(report: Got, value: Any, *, reveal: bool) -> None:
    report["found"] = True
    report["type"] = type(value).__name__
    report["size"] = len(value) if isinstance(value, Sized) else None
    if reveal:
        report["value"], report["encoding"] = (value, "json") if _is_json(value) else (repr(value), "repr")


def _expires_at(cache: Cache, key: Key, now: float) -> float | None:
    """Return when an entry expires: None for never, ``now`` if it is gone already."""
    try:
        left = cache.ttl(key)
    except KeyError:
        return now
    return None if left is None else round(now + left, 3)


def _is_json(value: Any) -> bool:
    """Return whether a value comes back the same from JSON."""
    if type(value) is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_json, value))
    return value is None or type(value) in {bool, int, str} or (type(value) is float and math.isfinite(value))


def _lifetime(ttl: str | None) -> Ttl:
    """Return the lifetime that was typed; what it may be is the library's to judge."""
    if ttl is None:
        return DEFAULT
    if ttl.lower() == _NEVER:
        return None
    try:
        return float(ttl)
    except ValueError:
        raise RefusedError(f"--ttl takes seconds, such as 300, or '{_NEVER}', not {ttl!r}") from None


def _value(typed: str, *, is_json: bool) -> Any:
    if not is_json:
        return typed
    try:
        return json.loads(typed, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RefusedError("the value is not JSON, as --json-value says it is") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _read_stdin() -> str:
    if sys.stdin.isatty():
        return getpass("Value: ")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _confirm(question: str) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _draw_entry(pen: Pen, report: Got, now: float) -> None:
    if not report["found"]:
        pen.line(f"There is no such key in {report['cache']}.")
        return
    expires_at, length = report["expires_at"], report["size"]
    unit = {"str": "character", "bytes": "byte"}.get(report["type"] or "", "item")
    pen.facts(
        [
            ("cache", report["cache"]),
            ("key", report["key"]),
            ("type", f"{report['type']}" + ("" if length is None else f", {count(length, unit)}")),
            ("expires", "never" if expires_at is None else f"in {span(expires_at - now)}, at {date(expires_at)}"),
        ]
    )
    if report["encoding"] is None:
        pen.line("The value is not shown; --reveal shows it.", "dim")
        return
    value = report["value"]
    pen.line()
    as_it_is = report["encoding"] == "repr" or isinstance(value, str)
    pen.verbatim([value] if as_it_is else json.dumps(value, indent=2, ensure_ascii=False).splitlines())


def _draw_keys(pen: Pen, report: Keys) -> None:
    pen.verbatim(listed["key"] for listed in report["keys"])
    if report["more"]:
        sys.stderr.write("There are more; --limit 0 lists all.\n")
    if report["unreadable"]:
        sys.stderr.write(f"{report['unreadable']} entries cannot be verified and count as absent.\n")
    if not report["keys"]:
        sys.stderr.write(f"There are no such keys in {report['cache']}.\n")

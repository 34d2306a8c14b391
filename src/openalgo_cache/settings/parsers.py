"""From the text of a variable to its value: one parser a kind, each saying what it accepts and how it shows a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from openalgo_cache.settings.findings import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable

T_co = TypeVar("T_co", covariant=True)

NEW_KEY_COMMAND = (
    'python -c "import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())"'
)
_LONGEST_LIFETIME = 100 * 365 * 86_400  # seconds; whoever writes more means "no expiry"
_FEWEST_DISTINCT_BYTES = 16  # 32 random bytes have fewer less than once in 10^15 draws; words and patterns often do

# Compiled at first use: together they would be a tenth of the import time of the package.
_WHOLE = r"[+-]?[0-9]+"
_DECIMAL = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
_DAYTIME = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"
_LABEL = r"[A-Za-z0-9_.-]{1,64}"
_CACHE_NAME = r"[a-z0-9_-]{1,64}"

_FLAGS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
BACKENDS = ("memory", "sqlite", "redis", "valkey")
"""The backends that the project names; entry points of other packages may add to them."""


class InvalidTextError(Exception):
    """A text is not what a parser accepts."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


@dataclass(slots=True, eq=False, repr=False)
class Parser(Generic[T_co]):
    """How one kind of variable is read.

    Attributes:
        accepts: What may be written, for the reference.
        parse: Turns a text that is neither empty nor padded into the value, or raises :class:`InvalidTextError`.
        write: Turns a value into the text that would be read as it.
        unset: The text that stands for None.
        confidential: Whether the text may hold a secret, so that a text that cannot be read is never shown.
    """

    accepts: str
    parse: Callable[[str], T_co]
    write: Callable[[Any], str] = str
    unset: str = ""
    confidential: bool = False

    def show(self, value: object) -> str:
        """Return ``value`` as it may be shown to anybody."""
        return self.unset if value is None else self.write(value)


def _parse_flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise InvalidTextError("is neither true nor false", f"Write true or false{_leftovers(text)}") from None


FLAG = Parser("true or false (also 1/0, yes/no, on/off)", _parse_flag, lambda value: "true" if value else "false")


def whole(least: int, most: int) -> Parser[int]:
    """Make a parser of whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        # The length is looked at first: int() refuses thousands of digits with an error of its own.
        if re.fullmatch(_WHOLE, text) is None or len(text) > 20 or not least <= int(text) <= most:
            raise InvalidTextError(
                f"is not a whole number from {least} to {most}", f"Write such a number{_leftovers(text)}"
            )
        return int(text)

    return Parser(f"a whole number from {least} to {most}", parse)


def _number(text: str, least: float, most: float) -> float | None:
    """Return the number, an int where it is written as one, or None if it is none or outside the range."""
    if len(text) > 24 or re.fullmatch(_DECIMAL, text) is None:
        return None
    number = int(text) if re.fullmatch(_WHOLE, text) else float(text)
    return number if least <= number <= most else None


def seconds(least: float, most: float) -> Parser[float]:
    """Make a parser of seconds, whole or with a decimal point, from ``least`` to ``most``."""

    def parse(text: str) -> float:
        number = _number(text, least, most)
        if number is None:
            raise InvalidTextError(
                f"is not a number of seconds from {least:g} to {most:g}", f"Write such a number{_leftovers(text)}"
            )
        return number

    return Parser(f"seconds, from {least:g} to {most:g}", parse)


def seconds_or_zero(zero: str) -> Parser[float | None]:
    """Make a parser of seconds where 0 stands for ``zero`` (``no expiry``) and is read as None."""

    def parse(text: str) -> float | None:
        number = _number(text, 0, _LONGEST_LIFETIME)
        if number is None:
            raise InvalidTextError(
                f"is not a number of seconds from 0 to {_LONGEST_LIFETIME}",
                f"Write the seconds as a number, 0 for {zero}{_leftovers(text)}",
            )
        return number or None

    return Parser(f"seconds; 0 means {zero}", parse, unset="0")


def days_or_zero(zero: str) -> Parser[int | None]:
    """Make a parser of whole days where 0 stands for ``zero`` and is read as None."""
    number = whole(0, 36_500)
    return Parser(f"days; 0 means {zero}", lambda text: number.parse(text) or None, unset="0")


def choice(*names: str) -> Parser[str]:
    """Make a parser of a few words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise InvalidTextError(f"is none of {', '.join(names)}", f"Write one of them{_leftovers(text)}")
        return text.lower()

    return Parser(", ".join(names[:-1]) + " or " + names[-1], parse)


def _parse_backend(text: str) -> str:
    name = text.lower()
    if name in BACKENDS:
        return name
    from importlib.metadata import entry_points  # noqa: PLC0415  # slow to import, and rarely needed

    known = {*BACKENDS, *entry_points(group="openalgo_cache.backends").names}
    if name not in known:
        raise InvalidTextError(
            "names no backend that is installed", f"Write one of {', '.join(sorted(known))}{_leftovers(text)}"
        )
    return name


BACKEND = Parser(
    "memory, sqlite, redis, valkey, or the name of a backend that another package registers", _parse_backend
)


def _parse_label(text: str) -> str:
    if re.fullmatch(_LABEL, text) is None:
        raise InvalidTextError(
            "has characters that are not allowed, or too many", "Use 1 to 64 of A-Z a-z 0-9 _ . and -"
        )
    return text


LABEL = Parser("1 to 64 of the characters A-Z a-z 0-9 _ . -", _parse_label)


def _parse_text(text: str) -> str:
    if not text.isprintable() or len(text) > 128:
        raise InvalidTextError("has control characters, or more than 128 characters", "Write a short, printable text")
    return text


TEXT = Parser("a printable text of at most 128 characters", _parse_text)


def _hide(_value: object) -> str:
    return HIDDEN


def _parse_password(text: str) -> str:
    if not text.isprintable():
        raise InvalidTextError(
            "holds a line break or another unprintable character",
            "Remove it; a password that was read from a file often has a line break at its end",
        )
    return text


PASSWORD = Parser(
    "any printable text; in single quotes in .env if it holds ' #', quotes or spaces",
    _parse_password,
    _hide,
    confidential=True,
)


def _parse_path(text: str) -> Path:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidTextError(
            "holds a control character",
            r"Write the path with forward slashes or in single quotes; in double quotes \t and \n are a tab and a line",
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidTextError(
            "begins with ~, but this user has no home folder that can be found", "Write the whole path"
        ) from None


PATH = Parser("a path; a relative one starts at the folder of .env", _parse_path)


def word_or_path(word: str) -> Parser[str | Path]:
    """Make a parser of paths, and of one word that is none."""

    def parse(text: str) -> str | Path:
        return word if text == word else _parse_path(text)

    return Parser(f"{word}, or a path; a relative one starts at the folder of .env", parse)


def _parse_cache_names(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if re.fullmatch(_CACHE_NAME, name) is None:
            raise InvalidTextError(
                f"holds {name[:64]!a}, which cannot name a cache",
                "Write names of 1 to 64 of a-z 0-9 _ and -, separated by commas",
            )
    return frozenset(names)


CACHE_NAMES = Parser("names of caches, separated by commas", _parse_cache_names, lambda names: ",".join(sorted(names)))

ALL_CACHES = frozenset({"*"})
"""What stands for every cache."""
CACHE_NAMES_OR_ALL = Parser(
    "names of caches, separated by commas; * for all",
    lambda text: ALL_CACHES if text == "*" else _parse_cache_names(text),
    CACHE_NAMES.write,
)


def _parse_key(text: str) -> bytes:
    import base64  # noqa: PLC0415  # only needed where the key is in the environment
    import binascii  # noqa: PLC0415  # likewise

    fix = f"Make a key with: {NEW_KEY_COMMAND}"
    try:
        # Both alphabets are accepted; anything else, and a wrong length, is refused and not skipped.
        key = base64.b64decode(text.translate(_STANDARD_ALPHABET), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidTextError("is not base64", fix) from None
    if len(key) != 32:
        raise InvalidTextError(f"decodes to {len(key)} bytes, not to 32", fix)
    if len(set(key)) < _FEWEST_DISTINCT_BYTES:
        raise InvalidTextError("repeats few bytes, so it is not random", fix)
    return key


_STANDARD_ALPHABET = str.maketrans("-_", "+/")
KEY = Parser("32 random bytes in (url-safe) base64, as Fernet keys are", _parse_key, _hide, confidential=True)


def _parse_daytime(text: str) -> str:
    match = re.fullmatch(_DAYTIME, text)
    if match is None:
        raise InvalidTextError("is not a time of day", "Write hours and minutes as HH:MM, such as 03:00")
    return f"{int(match[1]):02d}:{match[2]}"


DAYTIME = Parser("a time of day, HH:MM", _parse_daytime)


def _leftovers(text: str) -> str:
    """Return a hint where quotes or a comment came with the value, as from Docker's --env-file."""
    if "#" in text or text[:1] in {'"', "'"}:
        return " alone: only in .env are quotes and comments taken off"
    return ""

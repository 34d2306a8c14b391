"""Secrets that are planted, and the look for them in everything that is put out."""

from __future__ import annotations

import base64
import logging
import secrets
import traceback
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MARK: Final = "pl4nt3d"
"""In every planted secret, so that the whole test run can look for them."""


class Planted:
    """Makes secrets, one for each place they are planted in, and finds them again."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def secret(self, place: str, *, like: str = "") -> str:
        """Return the secret of a place, a new one the first time.

        Args:
            place: Where it is planted.
            like: What it begins with, where it must look like something.
        """
        assert place not in self.places, f"two secrets at one place: {place}"
        self.places[place] = f"{like}{MARK}{secrets.token_hex(8)}"
        return self.places[place]

    def know(self, place: str, secret: str) -> str:
        """Take a secret that somebody else made for one of ours; return it."""
        self.places[place] = secret
        return secret

    def found_in(self, text: str) -> list[str]:
        """Return the places whose secrets a text shows, as they are or in a form that anybody can undo."""
        folded = text.lower()
        return [
            place for place, secret in self.places.items() if any(form.lower() in folded for form in _forms(secret))
        ]


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a secret may hide."""
    raw = secret.encode()
    yield from {secret, quote(secret), quote_plus(secret), raw.hex(), repr(secret)[1:-1], secret[::-1]}
    for offset in range(3):  # wherever it stands in what is encoded
        yield base64.b64encode(bytes(offset) + raw).decode()[4 if offset else 0 : -4]


class Outlet(logging.Handler):
    """Everything that was put out, with the name of where: logs of every level, errors, reprs, files, pages."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[tuple[str, str]] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the log."""
        self.put(f"the log {record.name}", self.format(record))

    def put(self, where: str, text: str | bytes) -> None:
        """Take a text."""
        self.texts.append((where, text.decode("latin-1") if isinstance(text, bytes) else text))

    def show(self, what: object) -> None:
        """Take what an object shows of itself."""
        where = f"the repr of {type(what).__name__}"
        self.put(where, repr(what))
        self.put(where, str(what))

    def error(self, error: BaseException) -> None:
        """Take an error with its trace, and with those behind it, as a log would show it."""
        self.put(f"a {type(error).__name__}", "".join(traceback.format_exception(error)))
        self.show(error)

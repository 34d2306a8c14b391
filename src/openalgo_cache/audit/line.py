"""One line of the audit log: an object of JSON in ASCII, whose last field authenticates every byte before it.

    {"timestamp":"2026-11-24T16:20:01.123456Z","cache":"auth","operation":"GET","key":"~...","caller":"blueprints.auth",
    "hit":true,"instance_id":"instance-1","detail":null,"writer":"<32 hex>","sequence":17,"previous":"<64 hex>",
    "mac":"<64 hex>"}

(in one line, without spaces, and a newline at its end.) ``mac`` is HMAC-SHA256 over the bytes from the opening brace up
to the comma before ``"mac"``, under a key of the writer's own. ``previous`` is the ``mac`` of the line before it in the
writer's chain, 64 zeros in the first. All that a text can hold is escaped, so no text ends a line or a field.

The fields at the end are found by their place, not by parsing: nothing is parsed before it is verified.
"""

from __future__ import annotations

import hmac
import json
import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from openalgo_cache.audit.event import Event
from openalgo_cache.codec.keyring import KeyRing

FIRST: Final = "0" * 64
"""What the first line of a chain has as ``previous``."""
LONGEST: Final = 1 << 20
"""What is longer is no line of ours, in bytes."""

_LONGEST_TEXT: Final = 4096
_CUT: Final = " [cut]"
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_LINE: Final = re.compile(
    rb'(\{"timestamp":"[^\n]*,"writer":"([0-9a-f]{32})","sequence":([1-9][0-9]{0,17}),"previous":"([0-9a-f]{64})")'
    rb',"mac":"([0-9a-f]{64})"\}'
)


class Head(NamedTuple):
    """The end of a chain: who writes it, and the number and the MAC of its last line (0 and zeros before the first)."""

    writer: str
    sequence: int
    mac: str


class Signed(NamedTuple):
    """A line that has the fields of one at its end; whether they are true is not known yet.

    Attributes:
        body: What is authenticated.
        head: What it says of its chain: the writer, its own number and its MAC.
        previous: The MAC of the line before it.
    """

    body: bytes
    head: Head
    previous: str


def chain_key(ring: KeyRing, namespace: str, writer: str) -> bytes:
    """Return the key under which a writer signs: another ring, namespace or writer has another."""
    return ring.subkey("audit", f"{namespace}\0{writer}".encode())


def sign(key: bytes, head: Head, at: float, event: Event, instance: str) -> tuple[bytes, Head]:
    """Return the next line of a chain, with its newline, and the chain's new end.

    Args:
        key: The writer's key.
        head: The chain's end so far.
        at: When it happened, seconds since the epoch.
        event: What happened.
        instance: This instance's name.
    """
    sequence = head.sequence + 1
    fields = {
        "timestamp": timestamp(at),
        "cache": _cut(event.cache),
        "operation": _cut(event.operation),
        "key": _cut(event.key),
        "caller": _cut(event.caller),
        "hit": event.hit,
        "instance_id": instance,
        "detail": _cut(event.detail),
        "writer": head.writer,
        "sequence": sequence,
        "previous": head.mac,
    }
    body = _encode(fields)[:-1].encode("ascii")
    mac = _mac(key, body)
    return b'%b,"mac":"%b"}\n' % (body, mac.encode()), Head(head.writer, sequence, mac)


def read(line: bytes) -> Signed | None:
    """Return the parts of a line, without its newline; None if it has not the form of one."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    body, writer, sequence, previous, mac = found.groups()
    return Signed(body, Head(writer.decode(), int(sequence), mac.decode()), previous.decode())


def verifies(key: bytes, line: Signed) -> bool:
    """Return whether whoever has the key wrote this very line."""
    return hmac.compare_digest(_mac(key, line.body), line.head.mac)


def contents(line: Signed) -> dict[str, Any]:
    """Return the fields of a line that was verified, without its MAC."""
    fields: dict[str, Any] = json.loads(line.body + b"}")
    return fields


def timestamp(at: float) -> str:
    """Return a moment as lines write it: ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - len(_CUT)] + _CUT

"""The key ring: the installation's keys. A ring never changes; every change makes another one of the same id.

Its content is JSON: a random ring id, a secret for blinding keys and for the symbol master, the sealing keys, each with
a random id and a state, and a checksum. The ring id and that secret never rotate. The single key that the proposal
describes (44 characters, as Fernet prints them) is read as a ring of one, whose ids follow from the key itself.

One key is *active*: it seals what is written. The others are *decrypt-only*: they open what they sealed.

Subkeys are derived from a key by HKDF-SHA256 (RFC 5869), one for each purpose and context, so that no key is used for
two things.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from openalgo_cache.errors import KeyRingError

ACTIVE: Final = "active"
DECRYPT_ONLY: Final = "decrypt-only"
_STATES: Final = frozenset({ACTIVE, DECRYPT_ONLY})
_KEY_BYTES: Final = 32
_FERNET_LENGTH: Final = 44


@dataclass(frozen=True, slots=True)
class Key:
    """One sealing key.

    Attributes:
        id: 1 to 2^32 - 1.
        state: ACTIVE or DECRYPT_ONLY.
        created_at: When it was made, seconds since the epoch; 0 where nobody knows.
        secret: 32 bytes, which no repr shows.
        since: When it got its state, likewise.
    """

    id: int
    state: str
    created_at: float
    secret: bytes = field(repr=False)
    since: float = 0.0

    @classmethod
    def generate(cls, state: str = DECRYPT_ONLY) -> Key:
        """Make a new key."""
        now = time.time()
        return cls(secrets.randbelow(2**32 - 1) + 1, state, now, secrets.token_bytes(_KEY_BYTES), now)


def shown(key_id: int) -> str:
    """Return a key id as people see and type it: eight hexadecimal digits."""
    return f"{key_id:08x}"


class KeyRing:
    """The keys of one installation.

    Args:
        ring_id: 32 hexadecimal digits; the default namespace.
        root: The secret that never rotates, 32 bytes.
        keys: The sealing keys; exactly one is active.

    Raises:
        KeyRingError: The parts do not make a usable ring.
    """

    __slots__ = ("_keys", "_root", "active", "id")

    def __init__(self, ring_id: str, root: bytes, keys: Iterable[Key]) -> None:
        given = list(keys)
        self._keys = {key.id: key for key in given}
        if len(self._keys) != len(given):
            raise KeyRingError("a key ring holds two keys of the same id")
        self._root = root
        self.id = ring_id
        active = [key for key in self._keys.values() if key.state == ACTIVE]
        if len(active) != 1:
            raise KeyRingError(f"a key ring has one active key, this one has {len(active)}")
        secrets_ = [root, *(key.secret for key in self._keys.values())]
        if any(len(secret) != _KEY_BYTES for secret in secrets_) or not all(
            0 < number < 2**32 for number in self._keys
        ):
            raise KeyRingError("a key ring holds a key of a wrong size or number")
        self.active: Key = active[0]

    def __contains__(self, key_id: int) -> bool:
        return key_id in self._keys

    def __repr__(self) -> str:
        return f"<KeyRing {self.id[:8]}, {len(self._keys)} keys>"

    @property
    def keys(self) -> tuple[Key, ...]:
        """The sealing keys, oldest first."""
        return tuple(self._keys.values())

    def with_key(self, key: Key) -> KeyRing:
        """Return this ring with one more key, which is decrypt-only.

        Raises:
            KeyRingError: The ring has a key of this id, or the key says that it is active.
        """
        return KeyRing(self.id, self._root, (*self.keys, key))

    def with_active(self, key_id: int) -> KeyRing:
        """Return this ring with another active key; the one before it becomes decrypt-only.

        Raises:
            KeyRingError: The ring has no such key.
        """
        self._require(key_id)
        states = {key.id: ACTIVE if key.id == key_id else DECRYPT_ONLY for key in self.keys}
        now = time.time()
        return KeyRing(
            self.id,
            self._root,
            (
                key if key.state == states[key.id] else replace(key, state=states[key.id], since=now)
                for key in self.keys
            ),
        )

    def without(self, key_id: int) -> KeyRing:
        """Return this ring without one of its keys: what that key sealed cannot be opened any more.

        Raises:
            KeyRingError: The ring has no such key, or it is the active one.
        """
        self._require(key_id)
        if key_id == self.active.id:
            raise KeyRingError(f"key {shown(key_id)} is the active one: activate another one first")
        return KeyRing(self.id, self._root, (key for key in self.keys if key.id != key_id))

    def _require(self, key_id: int) -> None:
        if key_id not in self._keys:
            raise KeyRingError(f"the key ring has no key {shown(key_id)}")

    def sealing_subkey(self, key_id: int, purpose: str, context: bytes) -> bytes:
        """Return the 32-byte subkey of one key of the ring for a purpose and a context.

        Raises:
            KeyError: The ring has no such key.
        """
        return _derive(self._keys[key_id].secret, purpose, context)

    def subkey(self, purpose: str, context: bytes) -> bytes:
        """Return the 32-byte subkey, of the secret that never rotates, for a purpose and a context."""
        return _derive(self._root, purpose, context)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits by which two instances can tell whether they hold the same ring."""
        return hashlib.sha256(b"openalgo-cache ring " + self.subkey("fingerprint", b"")).hexdigest()[:16]

    @classmethod
    def generate(cls) -> KeyRing:
        """Make a new ring with one active key."""
        return cls(secrets.token_hex(16), secrets.token_bytes(_KEY_BYTES), [Key.generate(ACTIVE)])

    @classmethod
    def of_one(cls, secret: bytes | str) -> KeyRing:
        """Make a ring of one key.

        Args:
            secret: The key's 32 bytes, or the same as Fernet prints them: 44 characters of URL-safe base64.

        Raises:
            KeyRingError: The text is not such a key.
        """
        key = secret if isinstance(secret, bytes) else secret.encode("ascii", "replace")
        if isinstance(secret, str) or len(key) != _KEY_BYTES:
            try:
                key = base64.b64decode(key.strip(), altchars=b"-_", validate=True)
            except ValueError:
                key = b""
        if len(key) != _KEY_BYTES:
            raise KeyRingError(
                "a single key is 32 bytes as 44 characters of URL-safe base64, as Fernet.generate_key() makes"
            )
        number = int.from_bytes(_derive(key, "key id", b"")[:4], "big") or 1
        ring_id = _derive(key, "ring id", b"")[:16].hex()
        return cls(ring_id, _derive(key, "root", b""), [Key(number, ACTIVE, 0.0, key)])

    @classmethod
    def parse(cls, content: bytes) -> KeyRing:
        """Return the ring that a file's content is.

        Raises:
            KeyRingError: It is none, or a damaged one. Nothing of it is shown.
        """
        try:
            if len(content.strip()) == _FERNET_LENGTH:
                return cls.of_one(content)
            return cls._of_json(json.loads(content))
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
            raise KeyRingError("it is damaged: restore it from a backup") from None

    def to_json(self) -> bytes:
        """Return the content of the ring's file."""
        keys = [
            {
                "id": key.id,
                "state": key.state,
                "created_at": key.created_at,
                "since": key.since,
                "secret": _encoded(key.secret),
            }
            for key in self._keys.values()
        ]
        ring: dict[str, object] = {"format": 1, "ring_id": self.id, "root": _encoded(self._root), "keys": keys}
        ring["check"] = _checksum(ring)
        return json.dumps(ring, indent=1).encode() + b"\n"

    @classmethod
    def _of_json(cls, ring: dict[str, object]) -> KeyRing:
        if ring["format"] != 1:
            raise KeyRingError("it was written by a newer version of openalgo-cache")
        if ring["check"] != _checksum(ring):
            raise ValueError
        keys: list[Key] = []
        for one in ring["keys"]:  # type: ignore[attr-defined]  # a wrong shape raises, and the caller says 'damaged'
            if one["state"] not in _STATES:
                raise ValueError
            created_at, secret = float(one["created_at"]), base64.b64decode(one["secret"])
            # The first files do not have it, and whoever wrote them passes over names that are new to him.
            since = float(one.get("since", created_at))
            keys.append(Key(int(one["id"]), one["state"], created_at, secret, since))
        ring_id = str(ring["ring_id"])
        bytes.fromhex(ring_id)
        return cls(ring_id, base64.b64decode(str(ring["root"])), keys)


def _derive(secret: bytes, purpose: str, context: bytes) -> bytes:
    info = b"openalgo-cache/1 " + purpose.encode() + b"\0" + context
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)


def _encoded(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


def _checksum(ring: dict[str, object]) -> str:
    """Return a checksum of a ring's file. One wrong bit in a secret would make every honest record look forged."""
    content = json.dumps({name: part for name, part in ring.items() if name != "check"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]

r"""Keys: what a caller may use, and the one function that builds the stored form.

A stored key reads ``{prefix}[@{namespace}]:{cache}:{text}``, for example ``openalgo:auth:user_123``. Prefixes,
namespaces and cache names cannot contain ``:`` or ``@``, so no two (namespace, cache, key) triples share a stored
form.

The text of a str key is the key itself, with these characters percent-encoded: ``{ }`` (a cluster would hash only
what is between them), ``* ? [ ] \ ^`` (glob characters), ``%`` (the escape itself), and a leading ``!`` or ``~``.
Other key types begin with ``!`` and a type tag, so that 1, True and "1" stay apart; a leading ``~`` marks a blinded
key:

    ======  =====================  ===========================
    type    text                   example
    ======  =====================  ===========================
    int     ``!i`` decimal         ``2026`` -> ``!i2026``
    bool    ``!b0`` or ``!b1``     ``True`` -> ``!b1``
    None    ``!n``                 in tuples
    bytes   ``!x`` hexadecimal     ``b"\x01"`` -> ``!x01``
    tuple   ``!t`` parts, each     ``("a", 1)`` -> ``!t1:a3:!i1``
            with its length
    ======  =====================  ===========================

A text that begins with ``!g`` is no caller's key: there lies the record of a tag (``tags.py``).
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from openalgo_cache.errors import BlindedKeysError, ConfigurationError, InvalidKeyError

Key = str | bytes | int | tuple["Key | None", ...]
"""What a caller may use as a key: str everywhere; bytes, int, bool and tuples of those where a mapping had them."""

_REMEMBERED: Final = 8192

OF_TAG: Final = "!g"
"""What the text begins with under which the record of a tag lies."""

MAX_KEY_BYTES: Final = 512
"""The longest text of a key, in bytes of UTF-8 (before escaping)."""

OF_LOCKS: Final = ".locks"
"""What follows a cache's name in that of the store of its locks; no cache has a dot in its name."""

OF_KEY_HOLDERS: Final = "key.holders"
"""The name under which processes tell which keys they hold, no cache's either."""

_CACHE_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_owner = re.compile(rf"{_LABEL.pattern}(?:@({_LABEL.pattern}))?:([a-z0-9_-]{{1,64}}(?:\.locks)?):").match
_FORBIDDEN = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_forbidden = re.compile(f"[{_FORBIDDEN}]").search
_is_plain = re.compile(rf"[^!~{_FORBIDDEN}{{}}*?\[\]\\^%][^{_FORBIDDEN}{{}}*?\[\]\\^%]{{0,127}}").fullmatch
_needs_escape = re.compile(r"[{}*?\[\]\\^%]")
_escaped = re.compile(r"%([0-9A-F]{2})")


def check_cache_name(name: str) -> str:
    """Return ``name`` if it can name a cache (and so a file); raise ConfigurationError otherwise."""
    if not isinstance(name, str) or _CACHE_NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"a cache name is 1 to 64 of the characters a-z 0-9 _ - (like 'quotes'), not {name!r:.80}"
        )
    return name


def owner(stored: str) -> tuple[str | None, str] | None:
    """Return the namespace (None for the default one) and the cache that a stored key belongs to; None for neither."""
    found = _owner(stored)
    return None if found is None else (found[1], found[2])


class Keyspace:
    """Builds and reads the stored keys of one cache, and remembers some thousands of them.

    Args:
        prefix: What every stored key begins with (REDIS_KEY_PREFIX).
        cache: The cache's name.
        namespace: CACHE_NAMESPACE where it is set; None for the default namespace.

    Attributes:
        prefix: What every stored key of the cache begins with.
        known: The stored forms of str keys that were asked for lately.
    """

    __slots__ = ("known", "prefix")

    def __init__(self, prefix: str, cache: str, namespace: str | None = None) -> None:
        for label, what in ((prefix, "REDIS_KEY_PREFIX"), (namespace, "CACHE_NAMESPACE")):
            if label is not None and _LABEL.fullmatch(label) is None:
                raise ConfigurationError(f"{what} is 1 to 64 of the characters A-Z a-z 0-9 _ . -, not {label!r:.80}")
        at = f"@{namespace}" if namespace is not None else ""
        if cache != OF_KEY_HOLDERS:
            check_cache_name(cache.removesuffix(OF_LOCKS) if isinstance(cache, str) else cache)
        self.prefix = f"{prefix}{at}:{cache}:"
        self.known: dict[str, str] = {}

    def stored(self, key: Key) -> str:
        """Return the stored form of ``key``.

        Raises:
            InvalidKeyError: The key's type, length or characters are not allowed.
        """
        if type(key) is not str:  # 1, True and 1.0 would be one to a dict
            return self._build(key)
        stored = self.known.get(key)
        if stored is None:
            stored = self._build(key)
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            self.known[key] = stored
        return stored

    def _build(self, key: Key) -> str:
        if type(key) is str and _is_plain(key):  # at most 128 characters, so at most 512 bytes
            return self.prefix + key
        return self.prefix + escape(text(key))

    def original(self, stored: str) -> Key:
        """Return the key whose stored form is ``stored``."""
        return parse(unescape(stored[len(self.prefix) :]))

    def of_tag(self, tag: bytes) -> str:
        """Return where the record of a tag lies, by the tag's id; no caller's key leads there."""
        return f"{self.prefix}{OF_TAG}{tag.hex()}"

    def matching(self, prefix: str) -> str:
        """Return what the stored forms of all str keys that begin with ``prefix`` begin with."""
        return self.prefix + escape(text(prefix)) if prefix else self.prefix


class BlindedKeyspace(Keyspace):
    """The keyspace of a cache whose keys tell too much: it stores a keyed hash (BLAKE2b, RFC 7693) of each.

    The stored form is ``~`` and the hash of the key's text, in URL-safe base64, behind the prefix.

    Args:
        prefix: As for Keyspace.
        cache: Likewise.
        namespace: Likewise.
        secret: The key of the hash, 32 bytes.
    """

    __slots__ = ("_hash",)

    def __init__(self, prefix: str, cache: str, namespace: str | None, secret: bytes) -> None:
        super().__init__(prefix, cache, namespace)
        self._hash = hashlib.blake2b(key=secret, digest_size=24)

    def _build(self, key: Key) -> str:
        digest = self._hash.copy()
        digest.update(text(key).encode())
        return f"{self.prefix}~{base64.urlsafe_b64encode(digest.digest()).decode()}"

    def original(self, stored: str) -> Key:
        """Raise BlindedKeysError: a hash does not lead back."""
        del stored
        raise BlindedKeysError(
            f"the cache behind {self.prefix!r} stores keyed hashes of its keys: they cannot be listed"
        )

    def matching(self, prefix: str) -> str:
        """Raise BlindedKeysError: hashes have no prefix in common."""
        return str(self.original(prefix))


def text(key: Key | None, *, nested: bool = False) -> str:
    """Return the type-tagged text of ``key``, unescaped."""
    if isinstance(key, str) and type(key) is str:
        plain = _checked(key)
        return "!s" + plain if plain.startswith(("!", "~")) else plain
    if isinstance(key, bool):
        return "!b1" if key else "!b0"
    if isinstance(key, int) and type(key) is int:
        if key.bit_length() > MAX_KEY_BYTES:  # also keeps clear of int's own limit on digits
            raise InvalidKeyError(f"an int key has at most {MAX_KEY_BYTES} bits")
        return f"!i{key}"
    if isinstance(key, bytes) and type(key) is bytes:
        return _checked("!x" + key.hex())
    if isinstance(key, tuple) and type(key) is tuple:
        try:
            parts = [text(part, nested=True) for part in key]
        except RecursionError:
            raise InvalidKeyError("a tuple key is nested too deeply") from None
        return _checked("!t" + "".join(f"{len(part)}:{part}" for part in parts))
    if key is None and nested:
        return "!n"
    raise InvalidKeyError(f"a key is a str, or bytes, int, or a tuple of those, not {type(key).__name__}")


def parse(encoded: str) -> Key:
    """Return the key whose text is ``encoded``: the inverse of :func:`text`."""
    try:
        key = _parse(encoded)
    except (ValueError, RecursionError):
        key = None
    if key is None:
        raise InvalidKeyError("a stored key cannot be read")
    return key


def escape(plain: str) -> str:
    """Percent-encode what a store would take for syntax."""
    return _needs_escape.sub(lambda match: f"%{ord(match[0]):02X}", plain)


def unescape(escaped: str) -> str:
    """Undo :func:`escape`."""
    return _escaped.sub(lambda match: chr(int(match[1], 16)), escaped)


def _checked(plain: str) -> str:
    if (found := _forbidden(plain)) is not None:
        raise InvalidKeyError(
            f"a key holds the character U+{ord(found[0]):04X}: control characters and lone surrogates are refused"
        )
    if len(plain) > MAX_KEY_BYTES // 4 and (size := len(plain.encode())) > MAX_KEY_BYTES:
        raise InvalidKeyError(f"a key of {size} bytes is too long: {MAX_KEY_BYTES} is the most")
    return plain


def _parse(encoded: str) -> Key | None:
    if not encoded.startswith("!"):
        return encoded
    tag, body = encoded[1:2], encoded[2:]
    if tag == "s":
        return body
    if tag == "i":
        return int(body)
    if tag == "b":
        return body == "1"
    if tag == "x":
        return bytes.fromhex(body)
    if tag == "t":
        parts: list[Key | None] = []
        while body:
            length, _, rest = body.partition(":")
            parts.append(_parse(rest[: int(length)]))
            body = rest[int(length) :]
        return tuple(parts)
    return None

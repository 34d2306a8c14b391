"""Whole-file encryption: how the files of a cache are opened, and told from those that were written in another way.

The pages are encrypted by SQLite3 Multiple Ciphers (ChaCha20, with a Poly1305 tag a page), which apsw-sqlite3mc brings
in the place of SQLite; https://utelle.github.io/SQLite3MultipleCiphers/docs/ciphers/cipher_chacha20/. Database, log and
rollback journal are; the WAL index (``-shm``) holds no content and stays readable.

An encrypted file begins with 16 bytes that its writer may choose. Ours follow from the key. So a file under another
key is known as such, and not taken for a damaged one, which would be written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite.rawfile import raw
from openalgo_cache.errors import BackendMisconfiguredError
from openalgo_cache.settings import Settings

_PLAIN_HEAD: Final = b"SQLite format 3\0"
_TRACES: Final = (slice(16, 18), slice(20, 24))
"""Of the header these bytes stay readable: SQLite needs the size of pages before it can decrypt one."""
_TRACES_OF_OURS: Final = (b"\x08\x00", b"\x20\x40\x20\x20")
"""Pages of 2048 bytes, of which 32 are kept for the nonce and the tag."""
_HEAD_BYTES: Final = 24
_MOST_FLIPPED: Final = 16
"""Bits in which the first 16 bytes of a damaged file of ours may differ. Those of another key differ in about 64."""


class Kind(Enum):
    """How a file was written, by its first bytes."""

    EMPTY = "is empty"
    PLAIN = "is not encrypted"
    OURS = "is encrypted with our key"
    FOREIGN = "is encrypted with another key"
    UNKNOWN = "is no database of ours, or a damaged one"


class Cipher:
    """How the files of one cache are written: its database, recency and backups.

    Args:
        key: 32 bytes; None for files that are not encrypted.

    Raises:
        BackendMisconfiguredError: They should be, and the installed apsw cannot do it.
    """

    __slots__ = ("_head", "_key")

    def __init__(self, key: bytes | None = None) -> None:
        if key is not None and not hasattr(apsw, "mc_version"):
            raise _unable()
        self._key = key
        self._head = b"" if key is None else hashlib.blake2b(b"head of a file", key=key, digest_size=16).digest()

    @property
    def encrypts(self) -> bool:
        """Whether files are encrypted."""
        return self._key is not None

    def open(self, name: str, flags: int, *, statements: int = 100, verify: bool = True) -> apsw.Connection:
        """Open a file: the one way to every database of a cache.

        Args:
            name: The file, or its URI.
            flags: SQLite's.
            statements: How many are kept prepared.
            verify: Whether pages that do not carry their tag are refused; without, what is damaged can be salvaged.

        Raises:
            BackendMisconfiguredError: SQLite does not encrypt, though it should.
            apsw.Error: It cannot be opened.
        """
        connection = apsw.Connection(name, flags=flags, statementcachesize=statements)
        if self._key is None:
            return connection
        try:
            self._key_to(connection, verify=verify)
        except BaseException:
            connection.close()
            raise
        return connection

    def _key_to(self, connection: apsw.Connection, *, verify: bool) -> None:
        # An unknown PRAGMA is no error to SQLite: whoever does not look would go on unencrypted.
        if connection.execute("PRAGMA cipher = 'chacha20'").get != "chacha20" or self._key is None:
            raise _unable()
        connection.execute(f"PRAGMA hmac_check = {int(verify)}").fetchall()
        try:
            connection.execute(f"PRAGMA key = 'raw:{(self._key + self._head).hex()}'", can_cache=False).fetchall()
        except apsw.SQLError:  # SQLite reaches this file in a way of somebody else's, which does not encrypt
            raise _unable() from None
        connection.execute("PRAGMA temp_store = MEMORY").fetchall()

    def kind_of(self, path: Path) -> Kind:
        """Return how a file was written; it need not be readable any further.

        Raises:
            apsw.Error: It cannot be opened.
        """
        head = _head_of(path)
        if not head:
            return Kind.EMPTY
        if head.startswith(_PLAIN_HEAD):
            return Kind.PLAIN
        if self._key is not None and _differing_bits(head[:16], self._head) <= _MOST_FLIPPED:
            return Kind.OURS
        return Kind.FOREIGN if tuple(head[place] for place in _TRACES) == _TRACES_OF_OURS else Kind.UNKNOWN

    def refuse_others(self, path: Path) -> None:
        """Raise if a file was written in another way than the settings say. To SQLite it would look damaged.

        Raises:
            BackendMisconfiguredError: It is so.
            apsw.Error: It cannot be opened.
        """
        kind = self.kind_of(path)
        if kind is Kind.FOREIGN and not self.encrypts:
            raise BackendMisconfiguredError(
                f"the cache file {path} is encrypted: set SQLITE_FILE_ENCRYPTION=true, or stop the application and run "
                "'openalgo-cache encrypt-files --decrypt'"
            )
        if kind is Kind.FOREIGN:
            raise BackendMisconfiguredError(
                f"the cache file {path} {kind.value}, or was another cache's: restore the key ring that belongs to it"
            )
        if kind is Kind.PLAIN and self.encrypts:
            raise BackendMisconfiguredError(
                f"the cache file {path} {kind.value}, but SQLITE_FILE_ENCRYPTION=true: stop the application and run "
                "'openalgo-cache encrypt-files'"
            )


def _unable() -> BackendMisconfiguredError:
    return BackendMisconfiguredError(
        "the installed apsw cannot encrypt files, nor read encrypted ones: "
        "run 'pip uninstall --yes apsw', then 'pip install apsw-sqlite3mc'"
    )


PLAIN: Final = Cipher()
"""For files that are not encrypted."""


def key_of(cache: str, subkey: Callable[[str], bytes]) -> bytes:
    """Return the key of a cache's files.

    Args:
        cache: Its name; that of its locks is another one.
        subkey: Returns a key of the ring's secret that never rotates, for a purpose.
    """
    return subkey(f"sqlite file of {cache}")


def cipher_of(settings: Settings, cache: str, subkey: Callable[[str], bytes]) -> Cipher:
    """Return how the settings want a cache's files; the arguments are those of :func:`key_of`."""
    return Cipher(key_of(cache, subkey)) if settings.sqlite_file_encryption else PLAIN


def _head_of(path: Path) -> bytes:
    with raw(path, apsw.SQLITE_OPEN_MAIN_DB, apsw.SQLITE_OPEN_READONLY) as file:
        size = min(_HEAD_BYTES, file.xFileSize())
        return file.xRead(size, 0) if size else b""


def _differing_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()

"""Which files beside the key ring are caches', and how to open them.

To open another program's file, or one in another way than it was written, would mend it as if it were damaged. So each
is looked at first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.backup import backups_of
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher, Kind, cipher_of
from openalgo_cache.backends.sqlite.rawfile import raw
from openalgo_cache.catalogue import Durability, catalogue
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.manager import CacheManager

_MARK_AT: Final = 68
"""Where SQLite keeps whose file it is."""
_CACHE: Final = schema.APPLICATION_ID.to_bytes(4, "big")
_MASTER: Final = b"OASM"
"""The mark of the symbol master's files, which the secret signs that never rotates."""
_lies_beside_a_cache: Final = re.compile(r".*\.(recency|backup-[0-9]{8}|damaged-[0-9]+)").fullmatch


class CacheFile(NamedTuple):
    """The file of a cache, or of its locks.

    Attributes:
        path: Where it is.
        cipher: How it is encrypted.
        durable: Whether it is the only copy of what it holds.
    """

    path: Path
    cipher: Cipher
    durable: bool


def cache_files(manager: CacheManager) -> list[CacheFile]:
    """Return the files of caches and of their locks that lie beside the key ring, of every namespace, sorted.

    Raises:
        BackendUnavailableError: A file that should be one of ours is none, or is damaged.
        BackendMisconfiguredError: One is encrypted in another way than the settings say.
    """
    settings = manager.settings
    base = settings.sqlite_cache_path
    ours = re.compile(rf"{re.escape(base.name)}_([a-z0-9_-]+(?:\.locks)?)(?:@[\w%-]+)?\.db", re.ASCII)
    states = tuple(f"_{name}" for name, policy in catalogue(settings).items() if policy.durability is Durability.STATE)
    found = []
    for path in sorted(base.parent.glob("*.db")):
        if _lies_beside_a_cache(path.stem):
            continue
        named = ours.fullmatch(path.name)
        cipher = PLAIN
        if named is not None:
            cipher = cipher_of(settings, named[1], lambda purpose: manager.ring().subkey(purpose, b""))
            cipher.refuse_others(path)
        if _is_cache(path, cipher, expected=named is not None):
            durable = path.stem.partition("@")[0].endswith(states) or bool(backups_of(path))
            found.append(CacheFile(path, cipher, durable))
    return found


def _is_cache(path: Path, cipher: Cipher, *, expected: bool) -> bool:
    kind = cipher.kind_of(path)
    mark = _mark_of(path) if kind is Kind.PLAIN else b""
    if kind is Kind.OURS or mark == _CACHE:
        return True
    if not expected or kind is Kind.EMPTY or mark == _MASTER:
        return False
    raise BackendUnavailableError(
        f"{path} is no cache file, or a damaged one, so nobody can tell which keys it needs: let the application mend "
        "it, or move it away"
    )


def _mark_of(path: Path) -> bytes:
    with raw(path, apsw.SQLITE_OPEN_MAIN_DB, apsw.SQLITE_OPEN_READONLY) as file:
        return bytes(file.xRead(len(_CACHE), _MARK_AT)) if file.xFileSize() > _MARK_AT + len(_CACHE) else b""

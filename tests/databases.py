"""A look into a cache file past the library, whether or not the tests run on encrypted files."""

from __future__ import annotations

from pathlib import Path

import apsw

from openalgo_cache.backends.sqlite.cipher import Cipher, cipher_of
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.settings import Settings


def connect(path: Path) -> apsw.Connection:
    """Open a cache file of the default namespace, with the key ring beside it."""
    return cipher_beside(path).open(str(path), apsw.SQLITE_OPEN_READWRITE)


def cipher_beside(path: Path) -> Cipher:
    """Return how a cache file is encrypted."""
    cache = path.name.removeprefix("cache_").split(".", 1)[0]
    return cipher_of(Settings(), cache, lambda purpose: RingFile(path.with_name(FILE_NAME)).load().subkey(purpose, b""))

"""Where an installation's key ring comes from, and when one may be made.

A first start makes one, without being asked. It is never made beside what another one sealed, nor where several
instances need the same one.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Final

from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.errors import KeyRingError
from openalgo_cache.settings import Settings

_NAMED: Final = 3
"""Files that a message names."""


def ring_file(settings: Settings) -> RingFile | None:
    """Return the key ring's file, which need not be there; None where the key comes from CACHE_ENCRYPTION_KEY."""
    if settings.cache_encryption_key is not None:
        return None
    if settings.cache_key_file is not None:
        return RingFile(settings.cache_key_file, allow_root_owner=True)
    return RingFile(settings.cache_folder / FILE_NAME)


def load_ring(settings: Settings) -> LiveRing:
    """Return the key ring; make it where that is allowed.

    Args:
        settings: Say where it is.

    Raises:
        KeyRingError: There is none that can be used, and none may be made.
    """
    file = ring_file(settings)
    if file is None:
        assert settings.cache_encryption_key is not None  # noqa: S101  # for the type checker
        return LiveRing(KeyRing.of_one(settings.cache_encryption_key))
    if settings.cache_key_file is not None:
        return LiveRing(file.load(), file)
    if (problem := _why_none_is_made(file.path, settings)) is not None:
        raise KeyRingError(f"there is no key ring at {file.path}, and none is made: {problem}")
    return LiveRing(file.load_or_create(), file)


def _why_none_is_made(path: Path, settings: Settings) -> str | None:
    """Return why a missing ring is not made, with what to do; None if there is one, or it may be made."""
    sealed = sealed_files(settings)  # looked for first: whoever makes one of them has made the ring before
    if path.exists():
        return None
    if settings.multi_instance_mode:
        return (
            "with MULTI_INSTANCE_MODE=true every instance needs the same one; copy it there, or set CACHE_KEY_FILE "
            "('openalgo-cache keys create' makes the first)"
        )
    if not sealed:
        return None
    more = f" and {len(sealed) - _NAMED} more" if len(sealed) > _NAMED else ""
    return (
        f"{', '.join(sealed[:_NAMED])}{more} beside it can be read only with the one that is gone: restore it from a "
        "backup, or set CACHE_KEY_FILE or CACHE_ENCRYPTION_KEY as they were; to give up what is in these files, run "
        "'openalgo-cache keys create'"
    )


def sealed_files(settings: Settings) -> list[str]:
    """Return the names of all files of caches and masters beside the ring; nothing is in them before there is one."""
    base = settings.sqlite_cache_path
    found = base.parent.glob(f"{glob.escape(base.name)}_*.db")
    return sorted(path.name for path in found if path.is_file() and path.stat().st_size)

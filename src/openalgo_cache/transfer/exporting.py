"""Into a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from openalgo_cache import files
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Sealing
from openalgo_cache.errors import CacheError, ConfigurationError
from openalgo_cache.manager import CacheManager
from openalgo_cache.process import default_manager
from openalgo_cache.transfer.exportfile import Begin, Item, Writer
from openalgo_cache.transfer.reading import read_contents, stack_under, translation, without_foreign_tags
from openalgo_cache.transfer.report import Progress, TransferReport

_TOLD_EVERY: Final = 64
"""Entries."""


def export_caches(  # noqa: PLR0913  # what goes where, and how
    file: Path | str,
    caches: Iterable[Cache],
    *,
    manager: CacheManager | None = None,
    replace: bool = False,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> list[TransferReport]:
    """Write the entries of caches to a file that only the holder of the key ring can read, and nobody can change.

    The file is encrypted as a whole, 0600 from its first byte, and appears under its name when it is complete; whatever
    happens before, nothing is there. Entries are read one after the other, so the file may be larger than the memory.

    Args:
        file: The file; its folder must exist.
        caches: What to export; their backends have to be able to list what they hold.
        manager: Whose key ring seals the file; by default that of ``get_cache``.
        replace: Whether the file may exist.
        skip_unreadable: Whether to go on when a record of a state cache cannot be verified. In other caches such a
            record is left out in any case.
        progress: Told at the beginning of each cache and after every few entries what became of them so far.

    Returns:
        What became of the entries of each cache: ``moved``, ``passed`` or ``unreadable``.

    Raises:
        UnreadableRecordError: A record of a state cache cannot be verified.
        BlindedKeysError: A cache's keys are hashed with another key ring than the file would be sealed with.
        BackendUnavailableError: A store fails.
        OSError: The file is there already, or cannot be written.
    """
    manager = manager or default_manager()
    path, exported = Path(file), list(caches)
    names = [cache.name for cache in exported]
    if len(set(names)) < len(names):
        raise ConfigurationError("of two caches with one name, an export can hold one")
    ground = manager.ground()
    origins = [stack_under(ground, cache.name, blinded=cache.policy.blinded) for cache in exported]
    for cache, origin in zip(exported, origins, strict=True):
        _ = cache.backend  # whoever may not have a store may not have it copied
        translation(cache._opened(), origin)  # hashes have to be those that an import looks for
    reports = []
    try:
        with files.writing_private(path, replace=replace) as out:
            ring = ground.ring().now
            writer = Writer(out, ring, ground.settings.cache_namespace or ring.id, ground.clock())
            for cache, origin in zip(exported, origins, strict=True):
                report = TransferReport(cache.name)
                reports.append(report)
                writer.begin(Begin(cache.name, cache.policy.sealing is Sealing.ENCRYPTED, cache.policy.blinded))
                found = read_contents(cache, report, skip_unreadable=skip_unreadable)
                found = without_foreign_tags(found, origin, cache, report, skip_unreadable=skip_unreadable)
                for number, (text, contents) in enumerate(found):
                    if progress is not None and number % _TOLD_EVERY == 0:
                        progress(report)
                    writer.add(Item(text, contents))
                    report.moved += 1
            writer.end()
    except OSError as error:
        if not isinstance(error, CacheError) and error.filename is None:
            error.filename = str(path)  # where only the file system has spoken: a full disk
        raise
    return reports

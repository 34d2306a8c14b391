"""Out of a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import catalogue
from openalgo_cache.codec.codec import Contents
from openalgo_cache.errors import ConfigurationError, KeyRingError
from openalgo_cache.manager import CacheManager
from openalgo_cache.options import Options
from openalgo_cache.process import default_manager
from openalgo_cache.transfer.delivery import Delivery
from openalgo_cache.transfer.exportfile import Begin, Reader
from openalgo_cache.transfer.reading import stack_under, translation, without_foreign_tags
from openalgo_cache.transfer.report import Existing, Progress, TransferReport


@dataclass(frozen=True, slots=True)
class ExportedCache:
    """A cache in an export.

    Attributes:
        name: Its name.
        encrypted: Whether its records were encrypted where it comes from.
        blinded: Whether it holds keyed hashes in place of keys.
        entries: How many entries it has.
    """

    name: str
    encrypted: bool
    blinded: bool
    entries: int


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds.

    Attributes:
        namespace: Where its caches come from.
        created_at: When it was made, seconds since the epoch.
        caches: Its caches.
    """

    namespace: str
    created_at: float
    caches: tuple[ExportedCache, ...]


Open = Callable[[ExportedCache], Cache]


def verify_export(file: Path | str, *, manager: CacheManager | None = None) -> Export:
    """Read an export from its first byte to its last, and return what it holds. Nothing is imported.

    Args:
        file: The file.
        manager: Whose key ring it was made with; by default that of ``get_cache``.

    Raises:
        UnreadableExportError: The file is no export, or was changed, cut off or added to.
        KeyRingError: It was made with another key ring.
        OSError: It cannot be read.
    """
    with _reading(file, manager or default_manager()) as reader:
        return _verified(reader)


def import_caches(  # noqa: PLR0913  # what comes from where, and what is decided for it
    file: Path | str,
    *,
    names: Collection[str] | None = None,
    manager: CacheManager | None = None,
    open_cache: Open | None = None,
    existing: Existing = Existing.OLDER,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> list[TransferReport]:
    """Bring the entries of an export into caches, as ``copy_cache`` does.

    The whole file is verified before the first entry is written, and each part again when its turn comes. Whatever
    interrupts an import, calling it again does what is left.

    Args:
        file: The file.
        names: The caches to import; all of them if left out.
        manager: Whose caches; by default those of ``get_cache``. Its key ring is the one the file was made with.
        open_cache: Returns the cache to import one into; by default the manager's, where those that the catalogue does
            not know are encrypted and blinded as they were.
        existing: What may be replaced in the caches.
        skip_unreadable: Whether to go on when a record in a state cache cannot be verified.
        progress: See ``copy_cache``.

    Returns:
        What became of the entries of each cache.

    Raises:
        UnreadableExportError: The file is no export, or was changed, cut off or added to: nothing was imported.
        KeyRingError: It was made with another key ring.
        ConfigurationError: A name is not in the export.
        UnreadableRecordError: A record in a state cache cannot be verified.
        BackendUnavailableError: A store fails.
        OSError: The file cannot be read.
    """
    manager = manager or default_manager()
    reports: list[TransferReport] = []
    with _reading(file, manager) as reader:
        there = {cache.name: cache for cache in _verified(reader).caches}
        wanted = there if names is None else {name: there[name] for name in _known(names, there)}
        for begin, entries in _by_cache(reader):
            if begin.name not in wanted:
                continue
            cache = (open_cache or _opener(manager))(wanted[begin.name])
            origin = stack_under(manager.ground(), begin.name, blinded=begin.blinded)
            _ = cache.backend  # whoever may not have a store may not fill it
            to_stored = translation(origin, cache._opened())
            report = TransferReport(cache.name)
            reports.append(report)
            delivery = Delivery(cache, existing, report, dry_run=False, skip_unreadable=skip_unreadable)
            found = without_foreign_tags(entries, origin, cache, report, skip_unreadable=skip_unreadable)
            delivery.deliver_all(((to_stored(text), contents) for text, contents in found), progress)
    return reports


@contextmanager
def _reading(file: Path | str, manager: CacheManager) -> Iterator[Reader]:
    path = manager.ring_path()
    if path is not None and not path.exists():
        raise KeyRingError(
            f"there is no key ring at {path}, and an export can be read only with the one it was made with: point "
            "CACHE_KEY_FILE at a copy of it"
        )
    with Path(file).open("rb") as source:
        yield Reader(source, manager.ring())


def _verified(reader: Reader) -> Export:
    caches: list[ExportedCache] = []
    for begin, entries in _by_cache(reader):
        caches.append(ExportedCache(*begin, entries=sum(1 for _ in entries)))
    return Export(reader.namespace, reader.created_at, tuple(caches))


def _by_cache(reader: Reader) -> Iterator[tuple[Begin, Iterator[tuple[str, Contents]]]]:
    """Yield each cache with its entries, which are passed over as far as nobody takes them."""
    frames = reader.frames()
    following: list[Begin] = []

    def entries() -> Iterator[tuple[str, Contents]]:
        for frame in frames:
            if isinstance(frame, Begin):
                following.append(frame)
                return
            yield frame

    for _ in entries():  # none: a cache begins first
        pass
    while following:
        rest = entries()
        yield following.pop(), rest
        for _ in rest:
            pass


def _known(names: Collection[str], there: Collection[str]) -> Collection[str]:
    unknown = sorted(set(names) - set(there))
    if unknown:
        raise ConfigurationError(f"the export has no cache {', '.join(unknown)}: it has {', '.join(there) or 'none'}")
    return names


def _opener(manager: CacheManager) -> Open:
    known = catalogue(manager.settings)

    def open_cache(exported: ExportedCache) -> Cache:
        options = Options()
        if exported.name not in known:
            if exported.encrypted:
                options["encrypted"] = True
            if exported.blinded:
                options["blinded"] = True
        return manager.get_cache(exported.name, **options)

    return open_cache

"""From one store to another."""

from __future__ import annotations

from openalgo_cache.cache import Cache
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.transfer.delivery import Delivery
from openalgo_cache.transfer.reading import read_contents, translation, without_foreign_tags
from openalgo_cache.transfer.report import Existing, Progress, TransferReport


def copy_cache(  # noqa: PLR0913  # two caches, and what is decided for them
    source: Cache,
    target: Cache,
    *,
    existing: Existing = Existing.OLDER,
    skip_unreadable: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> TransferReport:
    """Copy every entry of one cache into another, on any backend, with its lifetime, its age and its tags.

    Records are verified, sealed anew for the target, written in one atomic step each, and read back. Values are not
    decoded, so that classes need not be registered here. Nothing is deleted: what was removed from the source after an
    earlier copy stays in the target until it expires. Whatever interrupts a copy, calling it again does what is left.

    Args:
        source: Where entries are read; its backend has to be able to list them.
        target: Where they go. Its own bound on the number of entries holds.
        existing: What may be replaced in the target.
        skip_unreadable: Whether to go on when a record of a state cache cannot be verified. In other caches such a
            record is passed over in any case.
        dry_run: Whether only to say what would be done.
        progress: Told at the beginning and after every few entries what became of them so far.

    Returns:
        What became of the entries.

    Raises:
        BlindedKeysError: The source has keyed hashes in place of keys, and the target has others, or none.
        UnreadableRecordError: A record of a state cache cannot be verified, at either end.
        ValueTooLargeError: A value is larger than the target allows.
        BackendUnavailableError: A store fails.
    """
    if source.backend is target.backend:
        raise ConfigurationError(f"the cache {source.name!r} cannot be copied onto itself")
    origin = source._opened()
    to_stored = translation(origin, target._opened())
    report = TransferReport(target.name)
    delivery = Delivery(target, existing, report, dry_run=dry_run, skip_unreadable=skip_unreadable)
    found = read_contents(source, report, skip_unreadable=skip_unreadable)
    found = without_foreign_tags(found, origin, target, report, skip_unreadable=skip_unreadable)
    delivery.deliver_all(((to_stored(text), contents) for text, contents in found), progress)
    return report

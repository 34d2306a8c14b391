"""The source's side: verified contents, one entry after the other, and where they belong in another cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from openalgo_cache.backends.base import SupportsScan
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Policy
from openalgo_cache.codec.codec import Contents
from openalgo_cache.errors import BlindedKeysError, CacheError, UnreadableRecordError
from openalgo_cache.keys import OF_TAG, BlindedKeyspace, parse, unescape
from openalgo_cache.stack import Ground, Stack, build_stack
from openalgo_cache.transfer.report import TransferReport

_PROBES: Final = ("probe",)
"""A key and a tag; whoever writes them in the same way writes all in the same way."""

Contained = Iterator[tuple[str, Contents]]


def read_contents(source: Cache, report: TransferReport, *, skip_unreadable: bool) -> Contained:
    """Yield the text of each key, as it stands behind the prefix of stored keys, with the entry's contents.

    Args:
        source: The cache.
        report: Gets what is not yielded.
        skip_unreadable: Whether to go on when a record of a state cache cannot be verified.

    Raises:
        UnreadableRecordError: A record of a state cache cannot be verified, and it was not said to skip those.
        CacheError: The backend cannot list what it holds.
    """
    stack = source._opened()
    if not isinstance(stack.backend, SupportsScan):
        raise CacheError(f"cache {source.name!r}: its backend, {stack.backend_name}, cannot list what it holds")
    prefix = stack.keyspace.prefix
    generation = stack.generation()
    for stored, found in stack.backend.scan(prefix):
        text = stored.removeprefix(prefix)
        if text.startswith(OF_TAG):  # entries take the generations of the target
            continue
        # A lost delete may be carried out by the very question; then what was read before is out of date.
        withheld = stack.withholds(stored)
        entry = found if stack.generation() == generation else stack.backend.get(stored)
        if withheld or entry is None:
            report.passed += 1
            continue
        try:
            contents = stack.codec.contents_of(stored, entry.payload)
            stands = contents is not None and stack.tags.hold(contents.extras.tags)
        except UnreadableRecordError as error:
            report.unreadable += 1
            refuse_unless(skip_unreadable, source, error)
            continue
        if contents is not None and stands:
            yield text, contents
        else:
            report.passed += 1


def refuse_unless(skip_unreadable: bool, cache: Cache, error: UnreadableRecordError) -> None:  # noqa: FBT001  # one word
    """Raise for a record that cannot be verified, if its cache is the only copy and nobody said to go on."""
    if cache.policy.durability is Durability.STATE and not skip_unreadable:
        raise UnreadableRecordError(
            f"the cache {cache.name!r} is the only copy of what it holds, and {error}; the record is kept where it is, "
            "and not all was moved: skip_unreadable (--skip-unreadable) goes on without such records"
        ) from None


Translate = Callable[[str], str]
"""Returns the stored key, in the target, of the text of a key in the source."""


def translation(source: Stack, target: Stack) -> Translate:
    """Return how texts of keys become stored keys of a target.

    Raises:
        BlindedKeysError: The source has keyed hashes in place of keys, and the target has others, or none.
    """
    keyspace = target.keyspace
    if _text_of_probe(source) == _text_of_probe(target):
        return lambda text: keyspace.prefix + text
    if isinstance(source.keyspace, BlindedKeyspace):
        raise BlindedKeysError(
            f"behind {source.keyspace.prefix!r} are keyed hashes in place of keys, and a hash cannot be turned into "
            "another, or into the key: open both caches with blinded keys, under the same name and the same key ring "
            "(CACHE_KEY_FILE; in memory, one that was there before the cache was first used)"
        )
    return lambda text: keyspace.stored(parse(unescape(text)))


def without_foreign_tags(
    entries: Contained, source: Stack, target: Cache, report: TransferReport, *, skip_unreadable: bool
) -> Contained:
    """Leave out entries whose tags mean nothing where they go, since nobody could end them by those tags there.

    Args:
        entries: Contents with whatever says where they belong.
        source: Whose tags they carry.
        target: The cache that they go to, or come from.
        report: Gets what is left out.
        skip_unreadable: See ``read_contents``.
    """
    if source.tags.ids(_PROBES) == target._opened().tags.ids(_PROBES):
        yield from entries
        return
    for text, contents in entries:
        if contents.extras.tags:
            report.unreadable += 1
            error = UnreadableRecordError("an entry has tags that only its own key ring can name")
            refuse_unless(skip_unreadable, target, error)
        else:
            yield text, contents


def stack_under(ground: Ground, name: str, *, blinded: bool) -> Stack:
    """Return what a cache of this name stands on under a key ring, above an empty store in memory."""
    return build_stack(name, Policy(blinded=blinded), "memory", ground)


def _text_of_probe(stack: Stack) -> str:
    return stack.keyspace.stored(_PROBES[0]).removeprefix(stack.keyspace.prefix)

"""Retention: days whose time is up go, but not before a signed line says so.

A file that does not verify is kept: it is evidence. At most two go at a time, so that a clock that is years ahead for a
moment does not cost the whole log.
"""

from __future__ import annotations

from openalgo_cache.audit.days import Days, days_before
from openalgo_cache.audit.reading import lines_of
from openalgo_cache.audit.statements import statements
from openalgo_cache.audit.verification import KeyOf, Verification
from openalgo_cache.audit.writer import Writer

_AT_A_TIME = 2


def retire(days: Days, writer: Writer, key_of: KeyOf, kept_days: int) -> list[str]:
    """Delete the oldest files whose time is up.

    Args:
        days: The files.
        writer: Writes what there is to say, and knows the present day.
        key_of: Returns the key of a writer.
        kept_days: How many days are kept.

    Returns:
        The names of files that stay, though their time is up, since they do not verify.

    Raises:
        OSError: Something could not be read, written or deleted.
        KeyRingError: There is no key to sign with.
    """
    first_kept = days_before(writer.day, kept_days)
    left, unsound = _AT_A_TIME, []
    for day, path in days.files().items():
        if day >= first_kept or not left:
            break
        size = path.stat().st_size
        found = Verification(key_of)
        for raw in lines_of(path, size):
            found.take(path, raw, day)
        if not found.is_sound():
            unsound.append(path.name)
            continue
        ends = {name: (chain.sequence, chain.mac or "") for name, chain in found.chains.items()}
        writer.write(statements(path.name, found.lines, size, ends))
        path.unlink(missing_ok=True)
        left -= 1
    return unsound

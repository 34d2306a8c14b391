"""Two requests change one session at the same time: what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from werkzeug.exceptions import Conflict

from openalgo_cache.codec.serializers import dumps, loads

_log = logging.getLogger("openalgo_cache")

Fields = Mapping[str, bytes]
"""What a session holds: for each name the serialised value. Bytes compare exactly, as 1 and True do not."""


class SessionConflict(Conflict):
    """Another request changed the same field of the session at the same time, in another way."""

    description = "Another request changed the same thing at the same time. Nothing was overwritten: try again."


def merge(before: Fields, there: Fields, mine: Fields) -> Fields:
    """Work the changes from ``before`` to ``mine`` into what another request has left ``there``.

    Raises:
        SessionConflict: Both changed one field, in different ways.
    """
    merged = dict(there)
    for name in before.keys() | mine.keys():
        was, found, new = before.get(name), there.get(name), mine.get(name)
        if new == was:
            continue
        if found not in (was, new):
            new = _both_appended(was, found, new)
            if new is None:
                _log.info("two requests changed the field %r of a session at the same time: one is refused", name)
                raise SessionConflict
        if new is None:
            merged.pop(name, None)
        else:
            merged[name] = new
    return merged


def changed(before: Fields, mine: Fields) -> Fields:
    """Return the fields of ``mine`` that ``before`` does not have like that."""
    return {name: data for name, data in mine.items() if before.get(name) != data}


def _both_appended(was: bytes | None, found: bytes | None, new: bytes | None) -> bytes | None:
    """Join two changes of a list, each of which appended to it or took it away; None if they are something else.

    So Flask's messages come through: one request flashes while another shows what there is.
    """
    base = [] if was is None else loads(was)
    sides = [None if side is None else loads(side) for side in (found, new)]
    if not all(type(part) is list for part in (base, *(side for side in sides if side is not None))):
        return None
    if any(side is not None and side[: len(base)] != base for side in sides):
        return None
    tails = [part for side in sides if side is not None for part in side[len(base) :]]
    return dumps(([] if None in sides else base) + tails)

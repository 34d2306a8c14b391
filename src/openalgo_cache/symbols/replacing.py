"""Put a new version of the master in the place of the old one, in one step, and clear away what is not needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import apsw

from openalgo_cache import files
from openalgo_cache.errors import BackendUnavailableError, UnreadableRecordError
from openalgo_cache.locks import FileLock
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.signing import Seal
from openalgo_cache.symbols.version import MasterVersion, OtherFormatError, VersionGoneError

_log = logging.getLogger(__name__)

Made = TypeVar("Made")


def replace_version(
    where: MasterFiles,
    seal: Seal | None,
    fill: Callable[[str], Made],
    *,
    number: str | None = None,
    needed: Callable[[], bool] = lambda: True,
) -> tuple[str, Made] | None:
    """Let a new version be built and make it the current one, as a whole or not at all.

    One at a time; a second one waits. Whatever ends it early (an error, a signal, the power) leaves the old master in
    place, and the next one clears away what is left of it.

    Args:
        where: The master's files.
        seal: What our versions are signed with.
        fill: Fills the file of a version, given its number, and checks it.
        number: The new version's number; None for a random one.
        needed: Asked when the turn has come, whether it is still to be done.

    Returns:
        The version's number and what ``fill`` returned; None if it was not needed.

    Raises:
        BackendUnavailableError: The new master cannot be written.
    """
    lock = FileLock(where.lock)
    try:
        files.ensure_folder(where.folder)
        with lock:
            if not needed():
                return None
            where.remove_temporaries()
            with suppress(BackendUnavailableError):  # a damaged pointer: this version mends it
                _clear_away(where, seal, where.current())
            number = where.create(number)
            try:
                made = fill(number)
                where.switch(number)
            except BaseException:
                with suppress(OSError):
                    where.path_of(number).unlink(missing_ok=True)
                raise
            _clear_away(where, seal, number)
            return number, made
    except BackendUnavailableError:
        raise
    except (OSError, apsw.Error) as error:
        raise BackendUnavailableError(f"the new symbol master cannot be written in {where.folder}: {error}") from error
    finally:
        lock.close()


def _clear_away(where: MasterFiles, seal: Seal | None, current: str | None) -> None:
    """Remove versions that are not current: what was broken off, and old ones of ours.

    What was signed with another key ring is somebody's, and stays. What Windows still has open stays till the next
    time.
    """
    for number in where.all_versions():
        if number == current:
            continue
        path = where.path_of(number)
        try:
            if where.is_finished(number):
                with suppress(OtherFormatError):  # ours, too
                    MasterVersion(path, number, seal).close()
            path.unlink()
        except UnreadableRecordError as error:
            _log.warning("%s; it is kept", error)
        except (OSError, VersionGoneError) as error:
            _log.info("an old symbol master is removed later: %s", error)

"""What a command stands on: the settings, the backend, and caches that are opened without leaving a trace."""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import typer

from openalgo_cache import selection
from openalgo_cache.backends.base import SupportsScan
from openalgo_cache.backends.sqlite.cipher import Cipher, cipher_of
from openalgo_cache.catalogue import Durability, Sealing, catalogue, policy_of
from openalgo_cache.cli.output import printable
from openalgo_cache.clock import system_clock
from openalgo_cache.codec.envelope import AEAD, parse_head
from openalgo_cache.errors import KeyRingError, UnreadableRecordError
from openalgo_cache.journal import Lookout, look
from openalgo_cache.keys import OF_TAG, Keyspace
from openalgo_cache.manager import CacheManager
from openalgo_cache.options import Options
from openalgo_cache.settings import SEARCH, Settings
from openalgo_cache.settings.server import SESSION
from openalgo_cache.stack import prefix_of
from openalgo_cache.symbols.masterfiles import MasterFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from openalgo_cache.cache import Cache

SYMBOLS: Final = "symbols"
_MASTER: Final = re.compile(rf"{SYMBOLS}(-[0-9a-f]{{32}})?")
"""The files of the symbol master, which are no cache's."""
_SAMPLE: Final = 16
"""How many records of a cache outside the catalogue are looked at to learn how its application opens it."""
_log: Final = logging.getLogger("openalgo_cache")


class RefusedError(typer.TyperException):
    """The command line asks for what cannot be done, or not without another option."""


class Notes(NamedTuple):
    """The journal of a cache's lost deletes on one backend."""

    cache: str
    backend: str
    path: Path


class Session:
    """One run of a command.

    Args:
        env_file: Where the settings are read from; None for ``.env`` in the current folder.
        as_json: How the library's warnings are written to standard error.
        quiet: Whether they are left out, where the command reports them itself.
        patience: Seconds that an operation on a server may take here, if the settings give it less.

    Raises:
        InvalidSettingsError: The settings cannot work.
    """

    def __init__(
        self, env_file: Path | None, *, as_json: bool = False, quiet: bool = False, patience: float = 0.0
    ) -> None:
        settings = Settings.from_environment(dotenv=SEARCH if env_file is None else env_file)
        self.settings = replace(
            settings,
            redis_operation_timeout=max(settings.redis_operation_timeout, patience),
            valkey_operation_timeout=settings.valkey_operation_timeout
            and max(settings.valkey_operation_timeout, patience),  # not set, it is that of Redis
        )
        self.manager = CacheManager(self.settings)
        self.now = system_clock
        self._choice: selection.Choice | None = None
        self._handler: logging.Handler = logging.NullHandler() if quiet else _Warnings(as_json=as_json)

    def __enter__(self) -> Self:
        _log.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.manager.close()
        _log.removeHandler(self._handler)

    @property
    def folder(self) -> Path:
        """The folder of the cache files."""
        return self.settings.cache_folder

    def choice(self) -> selection.Choice:
        """Return which backend the caches have or would get. Nothing is recorded by asking.

        Raises:
            ConfigurationError: The backend that is asked for does not exist.
            BackendMisconfiguredError: A configured server refuses us.
        """
        if self._choice is None:
            if self.is_recorded():
                self._choice = selection.choose_backend(self.settings, self.folder)
            else:
                # A first choice is recorded in the folder that it is made for; this one is thrown away.
                with TemporaryDirectory(prefix="openalgo-cache-") as nowhere:
                    self._choice = selection.choose_backend(self.settings, Path(nowhere))
        return self._choice

    def is_recorded(self) -> bool:
        """Return whether a choice of the backend is recorded."""
        return (self.folder / selection.RECORD_NAME).exists()

    def backend_of(self, name: str) -> str:
        """Return the backend of a cache: of the sessions on a server it is that of SESSION_TYPE."""
        return self.settings.session_type if self._holds_sessions(name) else self.choice().backend

    def _holds_sessions(self, name: str) -> bool:
        """Return whether a cache is that of the sessions, on a server; in a file it is one like the application's."""
        return name == SESSION and self.settings.session_type != "filesystem"

    def has_ring(self) -> bool:
        """Return whether there is a key ring; none is made by asking."""
        path = self.manager.ring_path()
        return path is None or path.exists()

    def cache_file(self, name: str) -> Path:
        """Return the SQLite file of a cache, which need not be there."""
        return self.settings.cache_file(name, ".db")

    def cipher(self, name: str) -> Cipher:
        """Return how a cache's file is encrypted.

        Raises:
            KeyRingError: It is, and there is no key ring.
        """
        if self.settings.sqlite_file_encryption:
            self.refuse_without_ring(f"the file of the cache {name!r} cannot be read")
        return cipher_of(self.settings, name, lambda purpose: self.manager.ring().subkey(purpose, b""))

    def caches_on_disk(self, part: str = "") -> list[str]:
        """Return the names of the caches that have a SQLite file in this namespace, sorted.

        Args:
            part: What follows the name in that of the file, such as ``.locks``.
        """
        before, after = self.cache_file(f"0{part}").name.rsplit("0", 1)
        shape = re.compile(rf"{re.escape(before)}([a-z0-9_-]{{1,64}}){re.escape(after)}")
        found = (shape.fullmatch(path.name) for path in self.folder.glob("*.db"))
        return sorted(match[1] for match in found if match is not None and not _MASTER.fullmatch(match[1]))

    def journals(self) -> Iterator[Notes]:
        """Yield the journals of lost deletes in this namespace, sorted."""
        before, after = self.settings.cache_file("0", "").name.rsplit("0", 1)
        shape = re.compile(rf"{re.escape(before)}([a-z0-9_-]{{1,64}}){re.escape(after)}\.([^.]+)\.deletes")
        for path in sorted(self.folder.glob("*.deletes")):
            if (match := shape.fullmatch(path.name)) is not None:
                yield Notes(match[1], match[2], path)

    def look_into(self, notes: Notes) -> Lookout | None:
        """Return what a journal says, as :func:`look` does; there must be a key ring."""
        prefix = prefix_of(notes.backend, self.settings)
        keyspace = Keyspace(prefix, notes.cache, self.settings.cache_namespace)
        return look(notes.path, self.manager.ring(), keyspace.prefix)

    def find(self, name: str, *, encrypted: bool = False, blinded: bool = False) -> Cache | None:
        """Open a cache that is there; return None if nothing was ever stored in it.

        Args:
            name: The cache's name.
            encrypted: Whether its application opens it so in its own code.
            blinded: Likewise.

        Raises:
            RefusedError: It cannot be reached from another process, or it is not opened as its records are.
            KeyRingError: There is no key ring to read it with.
        """
        self.refuse_unreachable(name)
        if self.backend_of(name) == "sqlite" and not self.cache_file(name).exists():
            return None
        self.refuse_without_ring(f"the cache {name!r} cannot be read")
        return self._opened(name, encrypted=encrypted, blinded=blinded)

    def open(self, name: str, *, encrypted: bool = False, blinded: bool = False) -> Cache:
        """Open a cache to write to it, as :meth:`find` does; the first makes the key ring and records the backend."""
        self.refuse_unreachable(name)
        self.refuse_without_ring_beside_files()
        self._choice = self.manager.choice()
        return self._opened(name, encrypted=encrypted, blinded=blinded)

    def _opened(self, name: str, *, encrypted: bool, blinded: bool) -> Cache:
        if self._holds_sessions(name):
            encrypted = blinded = True
        # Without a bound of its own this process evicts nothing, whatever bound the application has set in its code.
        options = Options(backend=self.backend_of(name), maxsize=None, on_error="raise", blinded=blinded)
        if encrypted:
            options["encrypted"] = True
        cache = self.manager.get_cache(name, **options)
        if name not in catalogue(self.settings):
            hold_to_its_records(cache)
        return cache

    def refuse_unreachable(self, name: str) -> None:
        """Raise if a cache cannot be looked into from here.

        Raises:
            RefusedError: It lives in other processes' memory, or is the symbol master.
        """
        if name == SYMBOLS:
            raise RefusedError("the cache 'symbols' is the symbol master: use 'openalgo-cache symbols'")
        local = policy_of(name, self.settings).durability is Durability.LOCAL
        if local or self.backend_of(name) == "memory":
            raise RefusedError(
                f"the cache {name!r} lives in the memory of each process that uses it, where no other process can look"
            )

    def has_master(self) -> bool:
        """Return whether a symbol master was imported.

        Raises:
            KeyRingError: One was, and there is no key ring to verify it with.
        """
        if MasterFiles(self.settings.sqlite_cache_path).current() is None:
            return False
        self.refuse_without_ring("the symbol master cannot be verified")
        return True

    def refuse_without_ring_beside_files(self) -> None:
        """Raise if there is no key ring, although there are files that need one: making a new one would hide the loss.

        Raises:
            KeyRingError: It is so.
        """
        if self.caches_on_disk() or self.has_master():
            self.refuse_without_ring("nothing in the folder can be read, and a new one would hide that")

    def refuse_without_ring(self, consequence: str) -> None:
        """Raise if there is no key ring.

        Args:
            consequence: What cannot be done without it.

        Raises:
            KeyRingError: It is so.
        """
        if not self.has_ring():
            raise KeyRingError(
                f"there is no key ring at {self.manager.ring_path()}, and without it {consequence}: "
                "restore it from a backup"
            )


class _Warnings(logging.StreamHandler[Any]):
    """Writes the library's warnings to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(sys.stderr)
        self.setLevel(logging.WARNING)
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if self._as_json:
            return json.dumps({"warning": {"message": message}})
        return "\n".join(printable(line) for line in f"warning: {message}".splitlines())


def seals_of(cache: Cache) -> list[tuple[bool, bool]]:
    """Return of some records of a cache whether they are encrypted, and whether their keys are blinded."""
    if not isinstance(cache.backend, SupportsScan):
        return []
    seen = [_seals(stored, entry.payload) for stored, entry in islice(cache.backend.scan(), _SAMPLE)]
    return [seal for seal in seen if seal is not None]


def hold_to_its_records(cache: Cache) -> None:
    """Refuse to go on with a cache that is opened in another way than its records were written.

    Nothing would be found in it, and what is written would be readable for others, or for nobody.
    """
    seals = seals_of(cache)
    ours = (cache.policy.sealing is Sealing.ENCRYPTED, cache.policy.blinded)
    if not seals or ours in seals:
        return
    encrypted, blinded = seals[0]
    options = " ".join(["--encrypted"] * encrypted + ["--blinded"] * blinded)
    raise RefusedError(
        f"the records of the cache {cache.name!r} are {'encrypted' if encrypted else 'signed'}, with "
        f"{'blinded' if blinded else 'readable'} keys: " + (f"say {options}" if options else "leave the options out")
    )


def _seals(stored: str, record: bytes) -> tuple[bool, bool] | None:
    """Return whether a record is encrypted, and whether its key is blinded; None if it is no record of an entry."""
    text = stored.split(":", 2)[2]
    if text.startswith(OF_TAG):
        return None
    try:
        return parse_head(record).mode == AEAD, text.startswith("~")
    except UnreadableRecordError:
        return None

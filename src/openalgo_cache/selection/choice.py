"""The choice of the backend, in the order in which the questions are asked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from openalgo_cache.errors import BackendMisconfiguredError
from openalgo_cache.selection.record import RECORD_NAME, DamagedRecordError, read_record, record_first
from openalgo_cache.settings import Finding, InvalidSettingsError, Settings, current_settings, preferred_server

if TYPE_CHECKING:
    from openalgo_cache.selection.probe import Probe
    from openalgo_cache.settings import Server

_log = logging.getLogger("openalgo_cache")

_TITLES = {"redis": "Redis", "valkey": "Valkey"}

_ALWAYS_THERE = ("sqlite", "memory")  # asking what packages register takes longer than all the rest here

Source = Literal["CACHE_BACKEND", "MULTI_INSTANCE_MODE", "CACHE_AUTO_CONFIGURE", "recorded", "automatic"]


class Choice(NamedTuple):
    """The backend to use.

    Attributes:
        backend: Its name.
        why: The reason, for people.
        source: What decided: a variable, the record of an earlier choice, or what was found just now.
        meant: The backend of a configured server that this one stands in for, since the server is away. What must not
            be lost waits for that one.
    """

    backend: str
    why: str
    source: Source
    meant: str | None = None


class _Found(NamedTuple):
    """What the automatic choice came to; ``doubtful``, and not recorded, if a configured server was passed over."""

    backend: str
    why: str
    doubtful: bool = False
    meant: str | None = None

    @property
    def choice(self) -> Choice:
        return Choice(self.backend, self.why, "automatic", self.meant)


def choose_backend(settings: Settings, folder: Path) -> Choice:
    """Choose the backend, log the choice in one line, and record it if it was automatic.

    The order: CACHE_BACKEND; MULTI_INSTANCE_MODE; SQLite if CACHE_AUTO_CONFIGURE is false; the record of the first
    automatic choice; a server that answers; SQLite. A record that cannot be read counts as none, but stays as it is,
    and nothing is recorded over it.

    Args:
        settings: The settings that say what is wanted and where a server may be.
        folder: The folder of the key ring, where the record lies; created if a choice has to be recorded.

    Returns:
        The backend, and why it was chosen.

    Raises:
        InvalidSettingsError: The backend that is asked for, or recorded, does not exist in this installation.
        BackendMisconfiguredError: A configured server answers and refuses us.
    """
    if settings.cache_backend is not None:
        where = settings.sources.get("CACHE_BACKEND", "code")
        _require(settings.cache_backend, "CACHE_BACKEND", "Set CACHE_BACKEND to one of them, or remove it")
        return _logged(Choice(settings.cache_backend, f"CACHE_BACKEND in the {where} says so", "CACHE_BACKEND"))
    if settings.multi_instance_mode:
        backend = preferred_server(settings)
        fix = "Set MULTI_INSTANCE_MODE=false, or install it"
        _require(backend, "MULTI_INSTANCE_MODE", fix, needed=True)
        return _logged(Choice(backend, "several instances share the caches", "MULTI_INSTANCE_MODE"))
    if not settings.cache_auto_configure:
        return _logged(Choice("sqlite", "CACHE_AUTO_CONFIGURE is false", "CACHE_AUTO_CONFIGURE"))
    path = folder / RECORD_NAME
    try:
        recorded = read_record(folder)
    except DamagedRecordError as error:
        return _choose_beside_damaged_record(settings, path, error)
    if recorded is not None:
        return _logged(_recorded(recorded, path))
    found = _find(settings)
    if found.doubtful:
        return _logged(found.choice, warn=True)
    try:
        agreed = record_first(folder, found.backend)
    except (OSError, DamagedRecordError) as error:
        _log.warning("The choice of the cache backend cannot be recorded in %s: %s", path, error)
        agreed = found.backend
    if agreed != found.backend:
        return _logged(_recorded(agreed, path))
    return _logged(found.choice)


def auto_detect_backend() -> str:
    """Return the name of the backend that this process's settings lead to; see :func:`choose_backend`."""
    settings = current_settings()
    return choose_backend(settings, settings.cache_folder).backend


def is_redis_available(settings: Settings | None = None) -> bool:
    """Say whether a Redis answers at REDIS_HOST:REDIS_PORT (or REDIS_URL, or the first Sentinel) and lets us in.

    Args:
        settings: Where to look; this process's settings if left out.

    Raises:
        BackendMisconfiguredError: A configured server answers and refuses us, which is not the same as not being there.
    """
    from openalgo_cache.selection.probe import Outcome, probe_server  # noqa: PLC0415  # sockets, only needed here

    server = (current_settings() if settings is None else settings).server("redis")
    probe = probe_server(server)
    _refuse_misconfigured(server, probe)
    return probe.outcome is Outcome.ANSWERS


def available_backends() -> frozenset[str]:
    """Return the names of the backends that this installation can build."""
    from openalgo_cache.backends import registry  # noqa: PLC0415  # only needed to choose

    return registry.available()


def _find(settings: Settings) -> _Found:
    """Look for a server; without one it is SQLite."""
    from openalgo_cache.selection.probe import Outcome, probe_server  # noqa: PLC0415  # sockets, only needed here

    server = settings.server(preferred_server(settings))
    title = _TITLES[server.name]
    probe = probe_server(server)
    _refuse_misconfigured(server, probe)
    there = f"{title} at {server.address}"
    if probe.outcome is Outcome.ANSWERS:
        if server.name in available_backends():
            return _Found(server.name, f"{title} answers at {server.address}")
        missing = f"its client library is not installed ({_extra(server.name)})"
        why = f"{title} answers at {server.address}, but {missing}: using SQLite"
        return _Found("sqlite", why, doubtful=server.configured)
    if probe.outcome in {Outcome.ASKS_FOR_PASSWORD, Outcome.REFUSES}:
        return _Found("sqlite", f"{there} {probe.detail}; nobody configured it, so it is not ours")
    if probe.outcome is Outcome.ABSENT and not server.configured:
        return _Found("sqlite", f"no {title} answers at {server.address}")
    meant = server.name if server.configured and server.name in available_backends() else None
    return _Found("sqlite", f"{there} {probe.detail}: using SQLite until the next start", server.configured, meant)


def _refuse_misconfigured(server: Server, probe: Probe) -> None:
    """Raise where a server that somebody configured refuses us: going on without it would hide the mistake."""
    from openalgo_cache.selection.probe import Outcome  # noqa: PLC0415  # sockets, only needed here

    if server.configured and probe.outcome in {Outcome.REFUSES, Outcome.ASKS_FOR_PASSWORD}:
        title = _TITLES[server.name]
        raise BackendMisconfiguredError(
            f"{title} at {server.address} {probe.detail}. "
            f"Correct that, or set CACHE_BACKEND=sqlite to do without {title}."
        )


def _choose_beside_damaged_record(settings: Settings, path: Path, error: DamagedRecordError) -> Choice:
    """Choose as if for the first time and record nothing: what the file meant may still be found out."""
    _log.warning(
        "%s, which records the cache backend, %s. It is left as it is and the choice is made anew at every start: "
        "settle it with `openalgo-cache use BACKEND`, or set CACHE_BACKEND.",
        path,
        error,
    )
    found = _find(settings)
    return _logged(found.choice, warn=found.doubtful)


def _recorded(backend: str, path: Path) -> Choice:
    fix = "Install what brings it, or change the record with `openalgo-cache use BACKEND`"
    _require(backend, str(path), fix)
    return Choice(backend, f"recorded in {path}", "recorded")


def _require(backend: str, variable: str, fix: str, *, needed: bool = False) -> None:
    """Raise if ``backend`` cannot be built here."""
    if backend in _ALWAYS_THERE:
        return
    available = available_backends()
    if backend in available:
        return
    title = _TITLES.get(backend, backend)
    if backend in _TITLES:
        there = f"its client library is not installed: {_extra(backend)}"
    else:
        there = f"there is no {title} backend here; there are {', '.join(sorted(available))}"
    problem = f"{'needs' if needed else 'asks for'} {title}, but {there}"
    raise InvalidSettingsError([Finding(variable, "true" if needed else backend, problem, fix)])


def _extra(backend: str) -> str:
    return f'pip install "openalgo-cache[{backend}]"'


def _logged(choice: Choice, *, warn: bool = False) -> Choice:
    """Say what was chosen; as a warning where it is not what somebody configured."""
    _log.log(logging.WARNING if warn else logging.INFO, "Cache backend: %s (%s)", choice.backend, choice.why)
    return choice

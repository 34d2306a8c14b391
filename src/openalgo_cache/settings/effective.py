"""The settings of this process: read once, the same for everybody, replaceable by tests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from openalgo_cache.settings.findings import Finding, InvalidSettingsError
from openalgo_cache.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A dictionary, because setdefault is one step: two threads that read at once agree on the first one's settings.
_effective: dict[str, Settings] = {}


def configure_cache_environment() -> Settings:
    """Read the environment and ``.env``, log what is doubtful, and make the result this process's settings.

    Called again, it reads again; caches that were built before keep what they were built with. ``os.environ`` is not
    changed.

    Raises:
        InvalidSettingsError: The settings cannot work; the message lists every fault. The older settings stay.
    """
    settings = Settings.from_environment()
    _log_warnings(settings.check())
    return install(settings)


def current_settings() -> Settings:
    """Return this process's settings; the first call reads them as :func:`configure_cache_environment` does.

    Raises:
        InvalidSettingsError: The settings cannot work; the message lists every fault.
    """
    settings = _effective.get("settings")
    if settings is None:
        settings = Settings.from_environment()
        _log_warnings(settings.check())
        settings = _effective.setdefault("settings", settings)
    return settings


def install(settings: Settings) -> Settings:
    """Make ``settings`` this process's settings and return them."""
    _effective["settings"] = settings
    return settings


@contextlib.contextmanager
def override(settings: Settings) -> Iterator[Settings]:
    """Use ``settings`` in this process within a ``with`` block; for tests."""
    before = _effective.get("settings")
    install(settings)
    try:
        yield settings
    finally:
        if before is None:
            _effective.clear()
        else:
            install(before)


def validate_cache_configuration(settings: Settings | None = None) -> list[Finding]:
    """Check settings, log the warnings and return them.

    Args:
        settings: The settings to check; left out, the environment and ``.env`` are read anew.

    Raises:
        InvalidSettingsError: The settings cannot work (a ``ConfigurationError`` and so a ``ValueError``).
    """
    findings = (Settings.from_environment() if settings is None else settings).check()
    if any(finding.severity == "error" for finding in findings):
        raise InvalidSettingsError(findings)
    _log_warnings(findings)
    return findings


def _log_warnings(findings: list[Finding]) -> None:
    import logging  # noqa: PLC0415  # slow to import, and rarely needed here

    for finding in findings:
        logging.getLogger("openalgo_cache").warning("%s", finding)

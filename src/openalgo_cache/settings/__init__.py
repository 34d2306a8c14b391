"""Every environment variable, typed and checked; the reference in docs/configuration.md is made from here."""

from __future__ import annotations

from openalgo_cache.settings.addresses import Sentinels, ServerUrl
from openalgo_cache.settings.effective import (
    configure_cache_environment,
    current_settings,
    install,
    override,
    validate_cache_configuration,
)
from openalgo_cache.settings.findings import Finding, InvalidSettingsError
from openalgo_cache.settings.load import SEARCH
from openalgo_cache.settings.model import Described, Settings
from openalgo_cache.settings.server import Server, preferred_server

__all__ = [
    "SEARCH",
    "Described",
    "Finding",
    "InvalidSettingsError",
    "Sentinels",
    "Server",
    "ServerUrl",
    "Settings",
    "configure_cache_environment",
    "current_settings",
    "install",
    "override",
    "preferred_server",
    "validate_cache_configuration",
]

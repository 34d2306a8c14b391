"""The catalogue's own access rules, and the question that the proposal asks of them.

They stop mistakes and plug-ins that play fair. They do not stop hostile code: whatever runs in the process can reach
its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from openalgo_cache.policy.rules import Grant, Rules

CATALOGUE: Final = "catalogue"
"""What CACHE_ACCESS_RULES calls the rules of this module."""

_SUFFIX: Final = "_cache"
_PROPOSED: Final = {"symbol": "symbols", "api_keys": "api_keys_verified"}
"""Names by which the proposal's rules know caches that are called otherwise."""


class CacheAccessControl:
    """Checks a calling module against the catalogue's rules (proposal, "Access Control").

    Attributes:
        ACCESS_RULES: For each cache the patterns of the modules that may use it; whom they do not name is denied.
    """

    ACCESS_RULES: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {
            "auth": ("database.auth_db", "blueprints.auth"),
            "feed_token": ("database.auth_db", "blueprints.auth"),
            "broker": ("database.auth_db", "blueprints.auth"),
            "api_keys_verified": ("database.auth_db", "restx_api.*"),
            "api_keys_invalid": ("database.auth_db", "restx_api.*"),
            "settings": ("database.settings_db",),
            "strategy_webhook": ("database.strategy_db",),
            "user_strategies": ("database.strategy_db",),
            "symbols": ("database.token_db", "database.token_db_enhanced", "services.*"),
            "running_strategies": ("blueprints.python_strategy",),
            "strategy_configs": ("blueprints.python_strategy",),
            "strategy_state": ("blueprints.python_strategy",),
        }
    )

    @classmethod
    def check_access(cls, cache_name: str, caller_module: str) -> bool:
        """Return whether ``caller_module`` may use ``cache_name``.

        Args:
            cache_name: The cache's name; the proposal's spelling with ``_cache`` behind it means the same cache.
            caller_module: The module's dotted name. Patterns are those of ``fnmatch``, and tell upper from lower case.
        """
        name = cache_name
        if name not in cls.ACCESS_RULES:
            short = cache_name.removesuffix(_SUFFIX)
            name = _PROPOSED.get(short, short)
        return Grant.of(tuple(cls.ACCESS_RULES.get(name, ()))).pattern(caller_module, "read") is not None


def catalogue_rules() -> Rules:
    """Return the catalogue's rules."""
    named = CacheAccessControl.ACCESS_RULES.items()
    return Rules(CATALOGUE, MappingProxyType({cache: Grant.of(tuple(patterns)) for cache, patterns in named}))

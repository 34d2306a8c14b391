"""Who may use which cache: rules of module patterns.

This stops mistakes and plug-ins that play fair. It does not stop hostile code: whatever runs in the process can reach
its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import ClassVar, Final

_SUFFIX: Final = "_cache"


class CacheAccessControl:
    """Checks a calling module against the rules of a cache (proposal, "Access Control").

    Attributes:
        ACCESS_RULES: For each cache the patterns of modules that may use it; a cache without rules is open to all.
    """

    ACCESS_RULES: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {
            "auth": ("database.auth_db", "blueprints.auth"),
            "symbols": ("database.token_db_enhanced", "services.*"),
            "api_keys_verified": ("database.auth_db", "restx_api.*"),
            "api_keys_invalid": ("database.auth_db", "restx_api.*"),
        }
    )

    @classmethod
    def check_access(cls, cache_name: str, caller_module: str) -> bool:
        """Return whether ``caller_module`` may use ``cache_name``.

        Args:
            cache_name: The cache's name; the proposal's spelling with ``_cache`` behind it means the same cache.
            caller_module: The module's dotted name. Patterns are those of ``fnmatch``, and tell upper from lower case.
        """
        allowed = cls.ACCESS_RULES.get(cache_name)
        if allowed is None:
            allowed = cls.ACCESS_RULES.get(cache_name.removesuffix(_SUFFIX), ("*",))
        return any(fnmatchcase(caller_module, pattern) for pattern in allowed)

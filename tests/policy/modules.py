"""Code of other modules: what a test runs in their name, as if they had been imported from a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import indent
from typing import Any

from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.manager import CacheManager
from tests.stacks import manager


class _Empty:
    """Nothing of its own."""


OF_EVERY_CLASS = frozenset(vars(_Empty))
"""What Python itself puts into a class; 3.13 more than those before."""
FRIEND = "services.quotes"
STRANGER = "plugins.stranger"


def run_as(module: str, source: str, **names: Any) -> Any:
    """Run statements in a module; return the value of the name ``result``, if they set it."""
    namespace = {"__name__": module, **names}
    exec(compile(source, f"<{module}>", "exec"), namespace)  # noqa: S102  # a module of the test's own
    return namespace.get("result")


def await_as(module: str, source: str, **names: Any) -> Any:
    """Run statements in a coroutine function of a module, and return what it returns."""
    main = run_as(module, f"async def result():\n{indent(source, '    ')}", **names)
    return asyncio.run(main())


def ruled(folder: Path, rules: str, clock: Clock = system_clock, **settings: Any) -> CacheManager:
    """Return a manager with access rules, given as the text of their file."""
    path = folder / "rules.toml"
    path.write_text(rules, encoding="utf-8")
    path.chmod(0o600)
    return manager(folder, clock, cache_access_rules=path, **settings)

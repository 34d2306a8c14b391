"""What all tests share: nothing of the developer's own settings, and no deadline by the clock."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from openalgo_cache.codec.keywatch import WATCH

_LONGEST_NAME = 80
"""Characters of an argument in a test's name."""

pytest_plugins = ["tests.servers.fixtures", "tests.rigs", "tests.host_stacks"]

# A setting of the shell that runs the tests must not change what they find.
for _name in [name for name in os.environ if name.startswith(("CACHE_", "REDIS_", "VALKEY_", "SQLITE_", "SESSION_"))]:
    del os.environ[_name]

# A machine that is busy with something else is no finding. `--hypothesis-profile=soak` tries a hundred times as much.
settings.register_profile("project", deadline=None, print_blob=True)
settings.register_profile("soak", deadline=None, print_blob=True, max_examples=10_000)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _nobody_looks_on() -> Iterator[None]:
    """End the looks at keys and servers of managers that a test left open: it is over, and so are its servers.

    In a later test they would be heard to warn, and their commands and connections would be counted.
    """
    before = set(WATCH._all)
    yield
    for watched in set(WATCH._all) - before:
        WATCH.discard(watched)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a test after the name of a long argument, not its content, which need not be the same in each worker."""
    return argname if isinstance(val, str | bytes) and len(val) > _LONGEST_NAME else None

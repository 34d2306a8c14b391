"""Several processes fill one bounded file: the bound holds for all of them, and what any of them reads stays."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from openalgo_cache.backends.sqlite import SQLiteBackend
from tests.faults.processes import Process
from tests.stacks import manager

MAXSIZE: Final = 200
HOT: Final = [f"hot {number}" for number in range(20)]
ROUNDS: Final = 12

WRITER: Final = """
import sys
from pathlib import Path
from openalgo_cache import CacheManager, Settings
house = CacheManager(Settings(base_folder=Path(sys.argv[1]), cache_backend="sqlite"))
cache = house.get_cache("quotes", maxsize=int(sys.argv[2]), ttl=None)
print("ready", flush=True)
for line in sys.stdin:
    for number in range(15):
        cache.set(f"cold {line.strip()} {sys.argv[3]} {number}", number)
    print(cache.backend.evictions, cache.stats()["errors"], flush=True)
house.close()
"""


def test_the_bound_of_all_and_the_reads_of_one(tmp_path: Path) -> None:
    """Four processes write seven times as much as may be there; a fifth reads some keys, and they are never evicted."""
    with ExitStack() as stack:
        house = stack.enter_context(closing(manager(tmp_path)))
        cache = house.get_cache("quotes", maxsize=MAXSIZE, ttl=None)
        backend = cache.backend
        assert isinstance(backend, SQLiteBackend)
        cache.set_many({key: key for key in HOT})
        writers = [stack.enter_context(Process(WRITER, tmp_path, MAXSIZE, number)) for number in range(4)]
        assert [writer.hear() for writer in writers] == ["ready"] * 4
        evictions = 0
        for turn in range(ROUNDS):
            assert cache.get_many(HOT) == {key: key for key in HOT}
            backend.maintain()  # as every minute: what was read is told to the others
            for writer in writers:
                writer.tell(turn)
            told = [writer.hear().split() for writer in writers]
            assert [errors for _, errors in told] == ["0"] * 4
            evictions = sum(int(count) for count, _ in told)
            assert cache.size() <= MAXSIZE
        assert evictions >= ROUNDS * 60 + len(HOT) - MAXSIZE
        assert cache.get_many(HOT) == {key: key for key in HOT}
        assert cache.get(f"cold {ROUNDS - 1} 0 14") == 14

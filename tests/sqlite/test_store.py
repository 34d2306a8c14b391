"""One file in this process: how its failures are told."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from openalgo_cache.backends.sqlite import pool
from openalgo_cache.backends.sqlite.store import Store
from openalgo_cache.errors import BackendUnavailableError
from tests.faults.forks import open_files
from tests.stacks import manager


def one(cursor: apsw.Cursor) -> Any:
    """Read something."""
    return cursor.execute("SELECT 1").get


def test_an_error_of_ours_keeps_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the system's kind of error, too, and still is not translated as if it came from there."""
    monkeypatch.setattr(pool, "_PATIENCE", 0.0)
    with closing(Store(tmp_path / "cache.db")) as store:
        assert store.read(one) == 1
        with ExitStack() as lent:
            for _ in range(pool.MOST):
                lent.callback(store.pool.give, store.pool.take())
            with pytest.raises(BackendUnavailableError, match="no connection to a cache file became free in time"):
                store.read(one)
        assert store.read(one) == 1


def test_errors_of_sqlite_and_of_the_system_name_the_file(tmp_path: Path) -> None:
    """And what is wrong with it."""
    (tmp_path / "db").write_text("in the way")
    store = Store(tmp_path / "db" / "cache.db")
    with pytest.raises(BackendUnavailableError, match=r"the cache file .*cache\.db: not a folder"):
        store.read(one)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are not listed here")
@pytest.mark.parametrize("wal", [True, False])
def test_a_closed_cache_leaves_no_file_open(tmp_path: Path, wal: bool) -> None:
    """However often a cache is opened and closed; and it can be used again."""
    for turn in range(3):
        with closing(manager(tmp_path, sqlite_wal_mode=wal)) as house:
            cache, state = house.get_cache("quotes"), house.get_cache("running_strategies")
            for one in (cache, state):
                one.set("key", turn)
                one.close()
                assert one.get("key") == turn
                assert one.incr("turns") == turn + 1
            assert open_files(tmp_path) != []
        assert open_files(tmp_path) == []

"""The master at its real size: all of it comes back, and what the figures promise of its file holds."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from openalgo_cache.symbols import MASTER_ROWS, SymbolMaster, generate_master
from tests.symbols import naive
from tests.symbols.samples import RING


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SymbolMaster, list[dict[str, str]]]]:
    """The generated master, imported once."""
    folder: Path = tmp_path_factory.mktemp("full")
    generate_master(folder / "master.csv")
    master = SymbolMaster(folder / "cache", RING)
    assert master.import_master(folder / "master.csv").rows == MASTER_ROWS
    with (folder / "master.csv").open(encoding="utf-8", newline="") as file:
        yield master, list(csv.DictReader(file))
    master.close()


@pytest.mark.xdist_group("full_size")
@pytest.mark.slow
def test_the_whole_master(full_size: tuple[SymbolMaster, list[dict[str, str]]]) -> None:
    """Every row is there, under all its names; searches agree with a plain loop; the file is small."""
    master, rows = full_size
    assert (master.count(), master.problem) == (MASTER_ROWS, None)
    by_symbol = master.many_by_symbol((one["symbol"], one["exchange"]) for one in rows)
    instruments = [one for one in by_symbol if one is not None]
    assert [(one.symbol, one.exchange, one.token, str(one.strike)) for one in instruments] == [
        (one["symbol"], one["exchange"], one["token"], one["strike"]) for one in rows
    ]
    some = rows[::97]
    assert master.many_by_token((one["token"], one["exchange"]) for one in some) == by_symbol[::97]
    assert master.many_by_brsymbol((one["brsymbol"], one["exchange"]) for one in some) == by_symbol[::97]
    for query, exchange in [
        ("NIFTY", None), ("NIFTY 24000", None), ("M", None), ("qu", None), ("industries lim", "BSE"),
        ("82.75 usd", None),
    ]:  # fmt: skip
        assert master.search(query, exchange) == naive.search(instruments, query, exchange, 50), query
    stats = master.stats()
    assert stats["unreadable_rows"] == 0
    assert stats["file_bytes"] <= 50_000_000
    assert master.expiries("NFO", "NIFTY")[:4] == ["07-MAR-24", "14-MAR-24", "21-MAR-24", "28-MAR-24"]
    assert len(master.underlyings("NFO")) == len({one["name"] for one in rows if one["exchange"] == "NFO"})

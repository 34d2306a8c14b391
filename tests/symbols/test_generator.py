"""The generated master: the same everywhere, and like a real one."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
from collections import Counter
from pathlib import Path

import pytest

from openalgo_cache.symbols import COLUMNS, MASTER_ROWS, generate_master
from openalgo_cache.symbols.generator import master_rows
from openalgo_cache.symbols.model import expiry_day, underlying_of

GOLDEN = "d3cd464e76825bf3ef334d4fdf77767d6b8ce2b8924d6f36582c1170d4b7a01d"


@pytest.fixture(scope="module")
def generated() -> str:
    """The whole master as text."""
    text = io.StringIO()
    assert generate_master(text) == MASTER_ROWS
    return text.getvalue()


def test_it_is_the_same_everywhere(generated: str) -> None:
    """Whoever measures, measures the same file, byte for byte."""
    assert hashlib.sha256(generated.encode()).hexdigest() == GOLDEN


def test_it_is_like_a_real_one(generated: str) -> None:
    """All exchanges, real names, OpenAlgo's naming, as many rows as the application has, none twice."""
    rows = list(csv.DictReader(io.StringIO(generated)))
    assert len(rows) == MASTER_ROWS == 142_338
    assert list(rows[0]) == list(COLUMNS)
    assert set(Counter(row["exchange"] for row in rows)) == {
        "NSE", "BSE", "NFO", "BFO", "MCX", "CDS", "NSE_INDEX", "BSE_INDEX",
    }  # fmt: skip
    assert len({(row["symbol"], row["exchange"]) for row in rows}) == MASTER_ROWS
    assert len({(row["brsymbol"], row["exchange"]) for row in rows}) == MASTER_ROWS
    assert len({(row["token"], row["exchange"]) for row in rows}) == MASTER_ROWS
    assert len({row["token"] for row in rows}) < MASTER_ROWS - 100, "some tokens are used on two exchanges"
    symbols = {row["symbol"] for row in rows}
    assert symbols >= {
        "NIFTY28MAR2420800CE", "BANKNIFTY24APR24FUT", "NIFTY28MAR2424000CE", "RELIANCE", "M&M", "BAJAJ-AUTO", "08ABB",
    }  # fmt: skip
    assert {row["brsymbol"] for row in rows if row["symbol"] == "NIFTY"} == {"NIFTY 50"}
    assert sum("NIFTY" in symbol for symbol in symbols) > 10_000
    underlyings = {underlying_of(row["symbol"], "?", row["expiry"]) for row in rows if row["expiry"]}
    assert underlyings >= {"NIFTY", "SENSEX", "USDINR", "GOLD", "CRUDEOIL", "M&M"}
    assert "?" not in underlyings
    assert all(float(row["strike"]) > 0 for row in rows if row["instrumenttype"] in {"CE", "PE"})


@pytest.mark.parametrize("rows", [1, 2, 7, 50, 999, 3_000])
def test_any_number_of_rows(rows: int) -> None:
    """A small master is as sound as the whole one."""
    made = list(master_rows(rows))
    assert len({(row[0], row[3]) for row in made}) == len(made) == rows


def test_rows_must_be_some() -> None:
    """No rows are no master."""
    with pytest.raises(ValueError, match="rows must be 1 or more"):
        generate_master(io.StringIO(), rows=0)


def test_seed_and_anchor() -> None:
    """Another seed makes other rows; another day moves the expiries behind it."""
    assert list(master_rows(500, seed=1)) != list(master_rows(500, seed=2))
    anchor = datetime.date(2026, 11, 1)
    expiries = {row[6] for row in master_rows(2_000, anchor=anchor) if row[6]}
    assert min(map(expiry_day, expiries)) >= 20261101


def test_it_writes_a_file(tmp_path: Path) -> None:
    """A path is written to, with the same bytes on every system."""
    generate_master(tmp_path / "master.csv", rows=20)
    text = io.StringIO()
    generate_master(text, rows=20)
    assert (tmp_path / "master.csv").read_bytes() == text.getvalue().encode()
    assert b"\r" not in (tmp_path / "master.csv").read_bytes()

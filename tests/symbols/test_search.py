"""Ranked search: what comes first, and that nothing is missed or made up."""

from __future__ import annotations

import string
import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openalgo_cache.symbols import SymbolMaster
from tests.symbols import naive
from tests.symbols.samples import RING, ROWS, contract, csv_of, row


def symbols(master: SymbolMaster, query: str, exchange: str | None = None, limit: int = 50) -> list[str]:
    """Return the symbols that a search finds."""
    return [one.symbol for one in master.search(query, exchange, limit)]


def test_exact_then_beginning_then_inside(master: SymbolMaster) -> None:
    """The shorter symbol first in each; what only the name has comes last."""
    assert symbols(master, "NIFTY") == [
        "NIFTY",
        "NIFTY 50", "NIFTYBEES", "NIFTY28MAR24FUT", "NIFTY25APR24FUT", "NIFTY07MAR2424000CE", "NIFTY28MAR2420800CE",
        "NIFTY28MAR2420800PE", "NIFTY28MAR2424000CE", "NIFTY28MAR2424000PE",
        "BANKNIFTY", "BANKNIFTY24APR24FUT", "BANKNIFTY24APR2448000CE",
    ]  # fmt: skip
    assert symbols(master, "reliance industries") == ["RELIANCE", "RELIANCE"]
    assert symbols(master, "nippon") == ["NIFTYBEES"]


def test_the_nearest_expiry_first(base: Any) -> None:
    """Of symbols of one length, whatever their alphabet says; what does not expire comes before."""
    days = ["02-MAY-24", "27-JUN-24", "07-MAR-24", "26-DEC-25"]
    master = SymbolMaster(base, RING)
    master.import_master([*(contract("NIFTY", day, "CE", "24000.0") for day in days), row("NIFTYOF24000ANYTIME")])
    expected = ["NIFTYOF24000ANYTIME", *(f"NIFTY{day}24000CE" for day in ("07MAR24", "02MAY24", "27JUN24", "26DEC25"))]
    assert symbols(master, "NIFTY 24000") == symbols(master, "24000 NIFTY") == expected
    assert symbols(master, "24000.0") == expected[1:], "as a strike"
    assert symbols(master, "NIFTY 24000", limit=2) == expected[:2]
    assert [one.symbol for one in master.fno_search("NIFTY", underlying="NIFTY")] == expected[1:]


def test_several_terms(master: SymbolMaster) -> None:
    """All must be found, in any order; the first one at the beginning is better."""
    options = ["NIFTY07MAR2424000CE", "NIFTY28MAR2424000CE"]
    assert symbols(master, "NIFTY 24000 ce") == options
    assert symbols(master, "24000 CE nifty") == options
    assert symbols(master, "nifty bees") == ["NIFTYBEES"]
    assert symbols(master, "bank nifty")[0] == "BANKNIFTY"
    assert symbols(master, "NIFTY no-such") == []


def test_the_brokers_symbol(master: SymbolMaster) -> None:
    """As a whole it comes right behind the symbol, in part behind everything else."""
    assert symbols(master, "nifty 50") == ["NIFTY 50", "NIFTY"]
    assert symbols(master, "NIFTY BANK")[0] == "BANKNIFTY"
    assert symbols(master, "n50") == ["NIFTY 50"]
    assert symbols(master, "82.75CE:28") == ["USDINR28MAR2482.75CE"]


@pytest.mark.parametrize("wanted", ["M&M", "BAJAJ-AUTO", "08ABB", "BTCUSD.P", "NIFTY 50", "Mixed-Case", "50_%PCT"])
def test_awkward_names(master: SymbolMaster, wanted: str) -> None:
    """They come first when typed in full, in any case."""
    for typed in (wanted, wanted.lower(), wanted.upper(), f"  {wanted.swapcase()} "):
        assert symbols(master, typed)[0] == wanted


def test_short_terms(master: SymbolMaster) -> None:
    """One or two letters find what they begin, and what has them inside."""
    assert symbols(master, "m")[:3] == ["M&M", "M&M", "M&MFIN"]
    assert symbols(master, "08") == ["08ABB", *(name for name in symbols(master, "08") if name != "08ABB")]
    assert symbols(master, "x") == ["Mixed-Case", "SENSEX5028MAR2423500CE"]
    assert symbols(master, "X5") == ["SENSEX5028MAR2423500CE"]
    assert symbols(master, "&") == ["M&M", "M&M", "M&MFIN", "M&M28MAR241900PE"]
    assert symbols(master, "m 4") == ["M&M28MAR241900PE", *(name for name in symbols(master, "m 4")[1:])]
    assert symbols(master, "ÿ") == []


def test_tokens_and_strikes(master: SymbolMaster) -> None:
    """A token is found whole or by one of its halves, a strike however it is written."""
    assert symbols(master, "738561::::2885") == ["RELIANCE"]
    assert symbols(master, "738561") == symbols(master, "2885") == ["RELIANCE"]
    assert symbols(master, "3856") == []
    assert symbols(master, "519937") == ["M&M", "M&M"]
    assert symbols(master, "26000") == ["NIFTY 50"]
    assert symbols(master, "reliance 2885") == ["RELIANCE"]
    assert symbols(master, "8250.0") == ["BAJAJ-AUTO28MAR248250CE"]
    assert symbols(master, "usdinr 82.750") == ["USDINR28MAR2482.75CE"]
    assert "RELIANCE" not in symbols(master, "0.0"), "no strike is no strike"


def test_exchange_and_limit(master: SymbolMaster) -> None:
    """Both narrow what is found, and neither changes its order."""
    assert symbols(master, "RELIANCE", "BSE") == ["RELIANCE"]
    assert [one.exchange for one in master.search("M&M", limit=2)] == ["BSE", "NSE"]
    assert symbols(master, "m", "BSE") == ["M&M", "RELIANCE"], "LIMITED"
    assert symbols(master, "nifty", "NSE_INDEX", limit=2) == ["NIFTY", "NIFTY 50"]
    assert symbols(master, "nifty", limit=4) == symbols(master, "nifty")[:4]
    assert symbols(master, "x", "NO SUCH") == symbols(master, "RELIANCE", "NO SUCH") == []
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit must be 1 or more"):
            master.search("A", limit=limit)


@pytest.mark.parametrize(
    "query",
    [
        "", " ", "\t\n", "'", "''", '"', '""', '"NIFTY', "NIFTY*", "^NIFTY", "^^NIFTY", "NIFTY OR RELIANCE", "(NIFTY)",
        "text:NIFTY", "NEAR(NIFTY RELIANCE)", "-NIFTY", "NIFTY AND NOT X", "%", "_", "%%", "N_FTY", "\\", "\\%",
        "'; DROP TABLE instrument; --", "\x00", "NIFTY\x00", "\ud800", "\U0010ffff", "\ue000\ue000\ue000", "x" * 513,
        "a " * 16, "::::", "9" * 400, "1e5", "nan", "ŎŉņŔŹ", "{}", "?", ":whole", "$1", "@pieces",
    ],
)  # fmt: skip
def test_queries_are_taken_literally(master: SymbolMaster, query: str) -> None:
    """Whatever is typed, it is text to find and never part of a query language."""
    everything = [one for one in master.many_by_symbol((one["symbol"], one["exchange"]) for one in ROWS) if one]
    expected = naive.search(everything, query, None, 50)
    assert master.search(query) == expected
    if query.strip():
        assert master.fno_search(query, underlying="NIFTY") == [one for one in expected if one.underlying == "NIFTY"]
    assert master.count() == len(ROWS)


def test_long_queries(base: Any) -> None:
    """Sixteen terms are looked for; what is longer finds nothing, at once."""
    letters = [chr(code) for code in range(0xC0, 0xC0 + 17)]
    master = SymbolMaster(base, RING)
    master.import_master([row("S", name="".join(letters))])
    assert symbols(master, " ".join(letters[:16])) == symbols(master, " ".join(reversed(letters[:16]))) == ["S"]
    assert symbols(master, " ".join(letters)) == []
    assert symbols(master, "S" + " " * 512) == []
    assert master.stats()["unreadable_rows"] == 0


_LETTERS = st.sampled_from("AB1&- .")
_SYMBOLS = st.text(_LETTERS, min_size=1, max_size=7).map(str.strip).filter(bool)
_TEXTS = st.text(_LETTERS, max_size=9)
_STRIKES = st.sampled_from(["0", "1", "11", "1.1", "111", "111.1"])
_EXPIRIES = st.sampled_from(["", "02-MAY-24", "07-MAR-24"])
_TOKENS = st.one_of(_SYMBOLS, st.builds("{}::::{}".format, _SYMBOLS, _SYMBOLS))
_ROWS = st.builds(
    lambda symbol, exchange, brsymbol, name, token, strike, expiry, small: row(
        symbol.lower() if small else symbol, exchange, brsymbol=brsymbol.lower() if small else brsymbol, name=name,
        token=token, strike=strike, expiry=expiry,
    ),
    _SYMBOLS, st.sampled_from(["X", "Y"]), _SYMBOLS, _TEXTS, _TOKENS, _STRIKES, _EXPIRIES, st.booleans(),
)  # fmt: skip
_MASTERS = st.lists(_ROWS, min_size=1, max_size=40, unique_by=lambda one: (one["symbol"], one["exchange"]))
_QUERIES = st.one_of(
    st.text(st.sampled_from("abAB1&-. %_"), max_size=9), st.lists(_SYMBOLS, max_size=3).map(" ".join), _STRIKES, _TOKENS
)


@settings(max_examples=60)
@given(_MASTERS, st.lists(st.tuples(_QUERIES, st.sampled_from([None, "X", "Y", "Z"]), st.integers(1, 12)), max_size=25))
def test_it_finds_what_a_plain_loop_finds(rows: list[dict[str, Any]], asked: list[tuple[str, str | None, int]]) -> None:
    """On any master, for any query, exchange and limit: the same instruments in the same order."""
    with tempfile.TemporaryDirectory() as folder:
        master = SymbolMaster(f"{folder}/cache")
        master.import_master(rows)
        everything = [one for one in master.many_by_symbol((one["symbol"], one["exchange"]) for one in rows) if one]
        assert len(everything) == len(rows)
        for query, exchange, limit in [*asked, (rows[0]["symbol"], None, 3), (rows[0]["token"], None, 3)]:
            assert master.search(query, exchange, limit) == naive.search(everything, query, exchange, limit), query
        master.close()


def test_text_of_other_alphabets(base: Any) -> None:
    """It is found as it is written; only a to z are the same as A to Z."""
    master = SymbolMaster(base, RING)
    master.import_master([row("ÄÖÜ", name="Straße 株式"), row("äöü"), row("plain", name="ĀĂĄĆĈĊ")])
    assert symbols(master, "ÄÖÜ") == ["ÄÖÜ"]
    assert symbols(master, "äöü") == ["äöü"]
    assert symbols(master, "ö") == ["äöü"]
    assert symbols(master, "straße") == ["ÄÖÜ"]
    assert symbols(master, "株式") == symbols(master, "株") == ["ÄÖÜ"]
    assert symbols(master, "ĂĄĆ") == ["plain"], "the range that other fields' letters are shifted to"
    assert symbols(master, "PLAIN") == ["plain"]


def test_letters_are_told_from_shifted_ones(base: Any) -> None:
    """A symbol of the very letters that the index stands other fields' letters for is not confused with them."""
    shifted = "".join(chr(ord(letter) + 0x100) for letter in "NAME")
    master = SymbolMaster(base, RING)
    master.import_master([row(shifted), row("S", name="NAME")])
    assert symbols(master, "NAME") == ["S"]
    assert symbols(master, shifted) == [shifted]


def test_every_printable_character(base: Any) -> None:
    """Each is found alone and among others."""
    master = SymbolMaster(base, RING)
    master.import_master([row(f"S{sign}T", token=str(n)) for n, sign in enumerate(string.punctuation)])
    for sign in string.punctuation:
        assert symbols(master, f"S{sign}T") == symbols(master, f"{sign}t") == symbols(master, sign) == [f"S{sign}T"]


def test_a_file_with_the_same_rows_gives_the_same_order(base: Any, tmp_path: Any, master: SymbolMaster) -> None:
    """The order does not depend on the order of the file."""
    path = tmp_path / "master.csv"
    path.write_text(csv_of(reversed(ROWS)), encoding="utf-8")
    before = symbols(master, "2")
    master.import_master(path)
    assert symbols(master, "2") == before

"""Looking up by what identifies an instrument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.symbols import Instrument, SymbolMaster
from openalgo_cache.symbols.lookups import HELD
from openalgo_cache.symbols.tier import Tier
from tests.symbols.samples import RING, ROWS, Hand, row


def test_an_instrument_comes_back_as_it_was(master: SymbolMaster) -> None:
    """All fields, with their types."""
    assert master.by_symbol("BTCUSD.P", "CRYPTO") == Instrument(
        symbol="BTCUSD.P", brsymbol="BTCUSD.P", name="BTCUSD.P", exchange="CRYPTO", brexchange="CRYPTO", token="27",
        expiry="", strike=0.0, lotsize=1, instrumenttype="PERP", tick_size=0.5, contract_value=0.001, underlying="",
    )  # fmt: skip
    option = master.by_symbol("NIFTY28MAR2420800CE", "NFO")
    assert option is not None
    assert option._asdict() == {
        "symbol": "NIFTY28MAR2420800CE", "brsymbol": "NIFTY:20800CE:28-MAR-24", "name": "NIFTY", "exchange": "NFO",
        "brexchange": "NFO", "token": "TNIFTY28MAR2420800CE", "expiry": "28-MAR-24", "strike": 20800.0, "lotsize": 50,
        "instrumenttype": "CE", "tick_size": 0.05, "contract_value": None, "underlying": "NIFTY",
    }  # fmt: skip
    assert [type(field) for field in option] == [str] * 7 + [float, int, str, float, type(None), str]


@pytest.mark.parametrize("wanted", ROWS, ids=lambda wanted: f"{wanted['symbol']}|{wanted['exchange']}")
def test_every_row_is_found_every_way(master: SymbolMaster, wanted: dict[str, str]) -> None:
    """By symbol, token and the broker's symbol; the first time from the file, the second from memory."""
    exchange = wanted["exchange"]
    for _ in range(2):
        found = master.by_symbol(wanted["symbol"], exchange)
        assert found is not None
        assert (found.symbol, found.exchange, found.token) == (wanted["symbol"], exchange, wanted["token"])
        assert master.by_token(wanted["token"], exchange) == found
        assert master.by_brsymbol(wanted["brsymbol"], exchange) == found


def test_a_token_of_two_exchanges(master: SymbolMaster) -> None:
    """Neither instrument vanishes."""
    token = "519937::::2031"
    assert [master.by_token(token, exchange) for exchange in ("NSE", "BSE")] == [
        master.by_symbol("M&M", "NSE"),
        master.by_symbol("M&M", "BSE"),
    ]
    assert master.all_by_token(token) == [master.by_symbol("M&M", "BSE"), master.by_symbol("M&M", "NSE")]
    assert master.all_by_token("27") == [master.by_symbol("BTCUSD.P", "CRYPTO")]
    assert master.all_by_token("no such") == []


@pytest.mark.parametrize(
    "symbol,exchange",
    [
        ("NO SUCH", "NSE"), ("RELIANCE", "NFO"), ("RELIANCE", "NO SUCH"), ("", ""), ("reliance", "NSE"),
        ("RELIANCE ", "NSE"), ("RELIANCE\x00", "NSE"), ("\ud800", "NSE"), ("RELIANCE", "\ud800"),
        ("' OR 1=1 --", "NSE"), ("%", "NSE"), ("x" * 10**6, "NSE"),
    ],
)  # fmt: skip
def test_what_is_not_there(master: SymbolMaster, symbol: str, exchange: str) -> None:
    """None, whatever is asked: symbols are compared exactly."""
    assert master.by_symbol(symbol, exchange) is None
    assert master.by_token(symbol, exchange) is None
    assert master.by_brsymbol(symbol, exchange) is None


def test_numbers_are_no_tokens(master: SymbolMaster) -> None:
    """A number is a mistake of the caller's that would otherwise find nothing, for ever."""
    with pytest.raises(TypeError, match="is text, like '2885' and 'NSE', not int and str"):
        master.by_token(26000, "NSE_INDEX")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError):
        master.many_by_token([("26000", "NSE_INDEX"), (26000, "NSE_INDEX")])  # type: ignore[list-item]  # that is the point
    with pytest.raises(TypeError):
        master.all_by_token(26000)  # type: ignore[arg-type]  # that is the point


def test_many_at_once(master: SymbolMaster) -> None:
    """The answers stand where the questions stood, also for what is twice, held already, or not there."""
    pairs = [(wanted["symbol"], wanted["exchange"]) for wanted in ROWS]
    asked = [pairs[3], ("NO", "NSE"), *pairs, pairs[3], ("\ud800", "X")]
    for _ in range(2):
        found = master.many_by_symbol(iter(asked))
        assert [one and (one.symbol, one.exchange) for one in found] == [
            pairs[3], None, *pairs, pairs[3], None,
        ]  # fmt: skip
    tokens = [(wanted["token"], wanted["exchange"]) for wanted in ROWS]
    assert master.many_by_token(tokens) == master.many_by_symbol(pairs)
    assert master.many_by_brsymbol([(one["brsymbol"], one["exchange"]) for one in ROWS]) == master.many_by_symbol(pairs)
    assert master.many_by_symbol([]) == []


def test_an_empty_master(base: Path) -> None:
    """Before the first import everything is answered, with nothing."""
    master = SymbolMaster(base, RING)
    assert master.by_symbol("A", "NSE") is None
    assert master.many_by_symbol([("A", "NSE"), ("B", "NSE")]) == [None, None]
    assert master.all_by_token("1") == []
    assert master.search("A") == master.fno_search() == []
    assert master.expiries() == master.underlyings() == []
    assert master.option_chain("NIFTY", "28-MAR-24", "NFO") == []
    stats = master.stats()
    assert (master.count(), master.problem, stats["total_symbols"], stats["problem"]) == (0, None, 0, None)
    assert "version" not in stats
    master.close()


def test_closing(master: SymbolMaster) -> None:
    """A closed master opens again when it is asked."""
    master.close()
    master.close()
    assert master.by_symbol("M&M", "NSE") is not None


def test_one_instrument_of_several(base: Path) -> None:
    """Where a broker gives two instruments of one exchange the same token, the shorter symbol answers."""
    master = SymbolMaster(base, RING, Hand())
    master.import_master(
        [row("LONGER", token="1", brsymbol="b"), row("SHORT", token="1", brsymbol="b"), row("X", "BSE", token="1")]
    )
    for found in (master.by_token("1", "NSE"), master.by_brsymbol("b", "NSE")):
        assert found is not None
        assert found.symbol == "SHORT"
    assert [one.symbol for one in master.all_by_token("1")] == ["X", "SHORT", "LONGER"]


def test_what_is_held_is_bounded(base: Path) -> None:
    """However many are asked for, a process holds so many and no more."""
    master = SymbolMaster(base, RING, Hand())
    master.import_master(row(f"S{n}") for n in range(4_000))
    for n in range(4_000):
        assert master.by_symbol(f"S{n}", "NSE") is not None
        assert master.by_token(f"TS{n}", "NSE") is not None
        assert master.by_brsymbol(f"S{n}", "NSE") is not None
    assert HELD // 2 <= master.stats()["held_in_memory"] <= HELD < 3 * 4_000
    assert master.by_symbol("S0", "NSE") is not None, "what was let go is read again"


def test_the_tier_holds_the_last_ones(master: SymbolMaster) -> None:
    """As many as fit; when there are more, the older half leaves."""
    one = master.by_symbol("M&M", "NSE")
    assert one is not None
    tier = Tier(10)
    for n in range(100):
        tier.keep("symbol", "NSE", {str(n): one})
        assert len(tier) <= 10
        assert [*tier.group("symbol", "NSE")][-5:] == [str(n) for n in range(max(0, n - 4), n + 1)]
    assert not tier.group("token", "NSE")


def test_the_tier_takes_many_at_once(master: SymbolMaster) -> None:
    """However many there are, and whatever they are looked up by, it holds no more than it may."""
    one = master.by_symbol("M&M", "NSE")
    assert one is not None
    tier = Tier(10)
    for start in range(0, 100, 25):
        tier.keep("symbol", "NSE", {str(n): one for n in range(start, start + 25)})
        assert [*tier.group("symbol", "NSE")][-4:] == [str(n) for n in range(start + 21, start + 25)]
        tier.keep("token", "BSE", {str(n): one for n in range(4)})
        assert len(tier) <= 10
    held = len(tier)
    for _ in range(10):
        tier.keep("token", "BSE", {str(n): one for n in range(4)})
    assert len(tier) == held, "what was held already is no more than it was"


def test_the_series_that_are_held_are_bounded(master: SymbolMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is held of them, one by one or in bulk, every answer is that of the file."""
    everything = {(one.symbol, one.exchange): one for one in master.search("2", limit=100)}
    assert len(everything) > 10
    for most in (1, 2, 1_000):
        monkeypatch.setattr("openalgo_cache.symbols.version.HELD_SERIES", most)
        master.close()
        assert master.many_by_symbol(everything) == list(everything.values())
        master.close()
        assert [master.by_symbol(*pair) for pair in everything] == list(everything.values())


def test_pairs_may_be_lists(master: SymbolMaster) -> None:
    """What comes from JSON is looked up in bulk like tuples, the same pair twice too."""
    pairs: list[Any] = [["M&M", "NSE"], ["M&M", "NOWHERE"], ["M&M", "NSE"]]
    first, second, third = master.many_by_symbol(pairs)
    assert first == third == master.by_symbol("M&M", "NSE")
    assert second is None


def test_repeated_texts_are_held_once(master: SymbolMaster) -> None:
    """It is what keeps a held instrument small."""
    one, two = master.by_symbol("NIFTY28MAR2420800CE", "NFO"), master.by_symbol("NIFTY28MAR2420800PE", "NFO")
    assert one is not None
    assert two is not None
    for field in ("exchange", "brexchange", "expiry", "underlying", "name"):
        assert getattr(one, field) is getattr(two, field)
    assert one.name is one.underlying
    assert one.brexchange is one.exchange

"""The paper market: the same prices everywhere, that move as prices do."""

from __future__ import annotations

import pytest

from openalgo_host.host import Host
from openalgo_host.market.paper import PaperMarket
from tests.host.conftest import MORNING, Hands


def test_every_instance_sees_the_same_prices(host: Host, hands: Hands) -> None:
    """Also after a restart."""
    shares = host.symbols.by_symbol("RELIANCE", "NSE")
    assert shares is not None
    other = PaperMarket(host.symbols, hands)
    assert host.market.quote(shares) == other.quote(shares)
    before = host.market.price(shares)
    hands.turn(300)
    assert 0 < abs(host.market.price(shares) / before - 1) < 0.02


@pytest.mark.parametrize(
    "symbol, exchange", [("RELIANCE", "NSE"), ("NIFTY", "NSE_INDEX"), ("NIFTY26MAR26FUT", "NFO"), ("M&M", "NSE")]
)
@pytest.mark.parametrize("after", [0, 2_700, 20_000, 100_000])
def test_a_quote_holds_together(host: Host, hands: Hands, symbol: str, exchange: str, after: float) -> None:
    """Highest and lowest enclose the others, bid lies below ask, and all are whole ticks."""
    hands.turn(after)
    instrument = host.symbols.by_symbol(symbol, exchange)
    assert instrument is not None
    quote = host.market.quote(instrument)
    assert quote.low <= min(quote.open, quote.ltp) <= max(quote.open, quote.ltp) <= quote.high
    assert 0 < quote.bid < quote.ltp < quote.ask
    assert quote.volume >= 0
    for price in (quote.ltp, quote.open, quote.prev_close):
        assert round(price / instrument.tick_size) * instrument.tick_size == pytest.approx(price)


def test_derivatives_follow_what_they_derive_from(host: Host) -> None:
    """The index is where its options lie; a call and a put of one strike differ by what they would pay."""
    index = host.symbols.by_symbol("NIFTY", "NSE_INDEX")
    call = host.symbols.by_symbol("NIFTY26MAR2624000CE", "NFO")
    put = host.symbols.by_symbol("NIFTY26MAR2624000PE", "NFO")
    future = host.symbols.by_symbol("NIFTY26MAR26FUT", "NFO")
    assert index is not None
    assert call is not None
    assert put is not None
    assert future is not None
    spot = host.market.price(index)
    assert spot == pytest.approx(24_000, rel=0.05)
    assert host.market.price(call) - host.market.price(put) == pytest.approx(spot - 24_000, abs=0.2)
    assert spot < host.market.price(future) < spot * 1.01
    after_expiry = MORNING + 40 * 86_400
    assert host.market.price(call, after_expiry) == pytest.approx(
        max(host.market.price(index, after_expiry) - 24_000, 0.05), abs=0.1
    )

"""Calls about options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openalgo_host.api import schemas
from openalgo_host.api.calls import Answer, Calls, Fields, RefusedCallError
from openalgo_host.market.paper import DERIVATIVES_OF

if TYPE_CHECKING:
    from openalgo_cache.symbols import ChainRow, Instrument
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host


def add(calls: Calls, host: Host) -> None:
    """Add them."""

    @calls.post("/optionsymbol", schemas.OptionSymbol)
    def option_symbol(_caller: Caller, call: Fields) -> Answer:
        chain = _Chain(host, call)
        found = chain.at(call["offset"].upper(), call["option_type"])
        return {
            "symbol": found.symbol,
            "exchange": found.exchange,
            "lotsize": found.lotsize,
            "tick_size": found.tick_size,
            "underlying_ltp": chain.spot,
        }

    @calls.post("/optionchain", schemas.OptionChain)
    def option_chain(_caller: Caller, call: Fields) -> Answer:
        chain = _Chain(host, call)
        around = call["strike_count"] or len(chain.rows)
        nearest = range(max(chain.atm - around, 0), min(chain.atm + around + 1, len(chain.rows)))
        return {
            "underlying": chain.underlying,
            "underlying_ltp": chain.spot,
            "expiry_date": chain.expiry.replace("-", ""),
            "atm_strike": chain.rows[chain.atm].strike,
            "chain": [
                {
                    "strike": chain.rows[nth].strike,
                    "ce": chain.side(nth, chain.rows[nth].call),
                    "pe": chain.side(nth, chain.rows[nth].put),
                }
                for nth in nearest
            ],
        }


class _Chain:
    """The options of one underlying and expiry, and what is at the money now."""

    def __init__(self, host: Host, call: Fields) -> None:
        self._host = host
        self.underlying, self.expiry = _names(host, call)
        listed: str = call["exchange"]
        exchange = DERIVATIVES_OF.get(listed, listed)
        self.rows: Sequence[ChainRow] = host.symbols.option_chain(self.underlying, self.expiry, exchange)
        if not self.rows:
            raise RefusedCallError(404, f"No options found for {self.underlying} with expiry {self.expiry}")
        self.spot = round(host.market.spot(self.underlying, exchange), 2)
        self.atm = min(range(len(self.rows)), key=lambda nth: abs(self.rows[nth].strike - self.spot))

    def at(self, offset: str, kind: str) -> Instrument:
        """Return the call or put so many strikes in or out of the money."""
        steps = int(offset[3:] or 0)
        nth = self.atm + (steps if (offset[:3] == "OTM") == (kind == "CE") else -steps)
        if 0 <= nth < len(self.rows):
            found = self.rows[nth].call if kind == "CE" else self.rows[nth].put
            if found is not None:
                return found
        raise RefusedCallError(404, f"No {kind} at {offset} for {self.underlying} with expiry {self.expiry}")

    def side(self, nth: int, option: Instrument | None) -> dict[str, Any] | None:
        """Return what is shown of a call or put."""
        if option is None:
            return None
        below = nth < self.atm
        label = "ATM" if nth == self.atm else "ITM" if below == (option.instrumenttype == "CE") else "OTM"
        steps = "" if nth == self.atm else str(abs(nth - self.atm))
        quote = self._host.market.quote(option)._asdict()
        return {
            "symbol": option.symbol, "label": label + steps, **quote,
            "lotsize": option.lotsize, "tick_size": option.tick_size,
        }  # fmt: skip


def _names(host: Host, call: Fields) -> tuple[str, str]:
    """Return the underlying and the expiry (``28-MAR-24``): the call's, or those of the future that it names."""
    name, given = call["underlying"], call["expiry_date"].upper()
    future = host.symbols.by_symbol(name, call["exchange"])
    if future is not None and future.instrumenttype == "FUT":
        name, given = future.underlying, given or future.expiry.replace("-", "")
    if not given:
        raise RefusedCallError(400, {"expiry_date": ["Missing data for required field."]})
    return name, f"{given[:2]}-{given[2:5]}-{given[5:]}"

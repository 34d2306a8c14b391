"""Which instruments are asked for, apart from the words of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openalgo_cache.symbols.model import CONTRACT_KINDS, Instrument, contract_kind, expiry_day


@dataclass(frozen=True, slots=True)
class Filters:
    """What an instrument must be; None asks for nothing.

    Attributes:
        exchange: Its exchange.
        underlying: What it derives from.
        expiry: Its expiry, ``28-MAR-24``.
        strike_min: Its least strike.
        strike_max: Its greatest strike.
        kind: CE, PE or FUT.
        only_contracts: Whether it must be an option or a future.

    Raises:
        ValueError: The expiry is no such date, or the kind is none of the three.
    """

    exchange: str | None = None
    underlying: str | None = None
    expiry: str | None = None
    strike_min: float | None = None
    strike_max: float | None = None
    kind: str | None = None
    only_contracts: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in CONTRACT_KINDS:
            raise ValueError(f"instrumenttype must be CE, PE or FUT, not {self.kind!r}")
        if self.expiry is not None:
            try:
                expiry_day(self.expiry)
            except ValueError as error:
                raise ValueError(f"expiry {self.expiry!r}: {error}") from None

    @property
    def names_series(self) -> bool:
        """Whether few series can be meant, so that going through their instruments is the shortest way."""
        return self.underlying is not None or self.expiry is not None

    def conditions(self) -> tuple[list[str], dict[str, Any]]:
        """Return conditions in SQL on ``i`` (instrument) and ``s`` (series), and the values to bind."""
        wanted = {
            "s.exchange = :exchange": self.exchange,
            "s.underlying = :underlying": self.underlying,
            "s.expiry_day = :expiry_day": None if self.expiry is None else expiry_day(self.expiry),
            "i.strike >= :strike_min": self.strike_min,
            "i.strike <= :strike_max": self.strike_max,
            "s.kind = :kind": self.kind,
        }
        conditions = {condition: value for condition, value in wanted.items() if value is not None}
        bindings = {condition.partition(":")[2]: value for condition, value in conditions.items()}
        return [*conditions, *(["s.kind <> ''"] if self.only_contracts else [])], bindings

    def admit(self, instrument: Instrument) -> bool:
        """Return whether a verified instrument is of the kind asked for: ``s.kind`` itself carries no mark."""
        if self.kind is None and not self.only_contracts:
            return True
        kind = contract_kind(instrument.symbol, instrument.expiry, instrument.instrumenttype)
        return kind == self.kind if self.kind is not None else bool(kind)

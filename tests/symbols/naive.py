"""The search as one would write it without an index: the truth that the real one is compared to."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

from openalgo_cache.symbols import Instrument


def capitals(text: str) -> str:
    """Return ``text`` with a to z in capitals, and nothing else changed."""
    return re.sub("[a-z]+", lambda found: found[0].upper(), text)


def day_of(expiry: str) -> datetime.date:
    """Return the day of an expiry; the first day there is for none."""
    if not expiry:
        return datetime.date.min
    return datetime.datetime.strptime(expiry, "%d-%b-%y").replace(tzinfo=datetime.UTC).date()


def search(instruments: Iterable[Instrument], query: str, exchange: str | None, limit: int) -> list[Instrument]:
    """Return what a search must return."""
    words = query.split()
    if not words:
        return []
    ranked = []
    for one in instruments:
        rank = rank_of(one, words)
        if rank and exchange in {None, one.exchange}:
            ranked.append((rank, len(one.symbol), day_of(one.expiry), one.symbol, one.exchange, one))
    return [one for *_, one in sorted(ranked)[:limit]]


def rank_of(one: Instrument, words: list[str]) -> int:
    """Return the place, 1 to 5, that the description of the search gives an instrument; 0 if it is not found."""
    terms = [capitals(word) for word in words]
    symbol, brsymbol, name = capitals(one.symbol), capitals(one.brsymbol), capitals(one.name)
    if symbol == " ".join(terms):
        return 1
    if brsymbol == " ".join(terms):
        return 2
    if all(term in symbol for term in terms):
        return 3 if symbol.startswith(terms[0]) else 4
    for word, term in zip(words, terms, strict=True):
        first, halves, second = one.token.partition("::::")
        is_strike = re.fullmatch(r"[0-9]+(\.[0-9]+)?", word) and 0 < one.strike == float(word)
        is_token = word == one.token or (halves and word in {first, second})
        if not (term in symbol or term in brsymbol or term in name or is_strike or is_token):
            return 0
    return 5

"""The symbol master with the verbs of a cache: what ``get_cache("symbols")`` returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from openalgo_cache.errors import ReadOnlyCacheError
from openalgo_cache.symbols.master import SymbolMaster
from openalgo_cache.symbols.model import Instrument

Default = TypeVar("Default")
Key = str | tuple[str, str]
Value = dict[str, Any]


class SymbolView:
    """Reads the master like a cache of dictionaries under ``"SYMBOL|EXCHANGE"`` or ``(symbol, exchange)``.

    Every verb that writes raises :class:`~openalgo_cache.errors.ReadOnlyCacheError`: a master is replaced as a whole.

    Args:
        master: What it is a view of.
    """

    name = "symbols"

    def __init__(self, master: SymbolMaster) -> None:
        self.master = master

    def get(self, key: Key, default: Default | None = None) -> Value | Default | None:
        """Return the instrument's fields, or ``default``."""
        instrument = self._find(key)
        return default if instrument is None else instrument._asdict()

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Return the fields of those instruments that there are, by the keys they were asked for with."""
        wanted = list(keys)
        pairs = [_pair(key) for key in wanted]
        found = iter(self.master.many_by_symbol(pair for pair in pairs if pair is not None))
        instruments = {key: None if pair is None else next(found) for key, pair in zip(wanted, pairs, strict=True)}
        return {key: instrument._asdict() for key, instrument in instruments.items() if instrument is not None}

    def exists(self, key: Key) -> bool:
        """Return whether there is such an instrument."""
        return self._find(key) is not None

    def size(self) -> int:
        """Return how many instruments there are."""
        return self.master.count()

    def stats(self) -> dict[str, Any]:
        """Return the state of the master."""
        return self.master.stats()

    def __getitem__(self, key: Key) -> Value:
        instrument = self._find(key)
        if instrument is None:
            raise KeyError(key)
        return instrument._asdict()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str | tuple) and self._find(key) is not None

    # Nobody goes through 142,000 instruments key by key. Left out, Python would try view[0], view[1] and so on.
    __iter__ = None

    def __len__(self) -> int:
        return self.size()

    def __bool__(self) -> bool:
        return True  # like every other handle, whatever it holds

    def __repr__(self) -> str:
        return f"<SymbolView, {self.size()} instruments>"

    def _find(self, key: Key) -> Instrument | None:
        pair = _pair(key)
        return None if pair is None else self.master.by_symbol(*pair)

    def _refuse(self, *_args: object, **_options: object) -> NoReturn:
        """Raise: a master is replaced as a whole, by an import."""
        raise ReadOnlyCacheError(
            "the symbols cache is a read-only view of the symbol master: replace that with SymbolMaster.import_master "
            "or `openalgo-cache symbols import FILE`"
        )

    set = add = pop = popitem = touch = delete = incr = clear = set_many = delete_many = _refuse
    get_or_set = cached = update = setdefault = lock = __setitem__ = __delitem__ = _refuse


def _pair(key: Key) -> tuple[str, str] | None:
    """Return symbol and exchange; None for what is no key of this cache."""
    if isinstance(key, str):
        symbol, bar, exchange = key.rpartition("|")
        return (symbol, exchange) if bar else None
    if isinstance(key, tuple) and len(key) == 2 and all(isinstance(part, str) for part in key):
        return key
    return None

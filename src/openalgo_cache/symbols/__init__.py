"""The symbol master: 142,000 instruments, looked up in microseconds, searched in milliseconds, replaced as a whole.

:class:`SymbolMaster` is the way in, :class:`SymbolView` gives it the verbs of a cache, :func:`generate_master` makes a
master to try things on.
"""

from __future__ import annotations

from openalgo_cache.symbols.generator import MASTER_ROWS, generate_master
from openalgo_cache.symbols.importing import ImportReport, Progress
from openalgo_cache.symbols.master import SymbolMaster
from openalgo_cache.symbols.model import COLUMNS, ChainRow, Instrument
from openalgo_cache.symbols.signing import Seal
from openalgo_cache.symbols.source import Source
from openalgo_cache.symbols.view import SymbolView

__all__ = [
    "COLUMNS",
    "MASTER_ROWS",
    "ChainRow",
    "ImportReport",
    "Instrument",
    "Progress",
    "Seal",
    "Source",
    "SymbolMaster",
    "SymbolView",
    "generate_master",
]

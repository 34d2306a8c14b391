"""The master with the verbs of a cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openalgo_cache.errors import ReadOnlyCacheError
from openalgo_cache.symbols import SymbolMaster, SymbolView
from tests.symbols.samples import ROWS, row


@pytest.fixture
def view(master: SymbolMaster) -> SymbolView:
    """A view of the small master."""
    return SymbolView(master)


def test_reading(view: SymbolView) -> None:
    """Keys are "SYMBOL|EXCHANGE" or pairs, values are dictionaries, the reader's own."""
    value = view["M&M|NSE"]
    assert (value["token"], value["contract_value"]) == ("519937::::2031", None)
    value["token"] = "changed by its reader"
    assert view["M&M|NSE"] == view["M&M", "NSE"] == view.get("M&M|NSE") == view.get(("M&M", "NSE")) != value
    assert "NIFTY 50|NSE_INDEX" in view
    assert ("NIFTY 50", "NSE_INDEX") in view
    assert view.exists("RELIANCE|BSE")
    assert len(view) == view.size() == len(ROWS)
    assert view.stats()["total_symbols"] == len(ROWS)
    assert view.name == "symbols"
    assert bool(view)
    assert repr(view) == f"<SymbolView, {len(ROWS)} instruments>"


@pytest.mark.parametrize("key", ["RELIANCE", "RELIANCE|XXX", "", "|", ("RELIANCE",), ("RELIANCE", 1), ("A", "B", "C")])
def test_what_is_not_there(view: SymbolView, key: Any) -> None:
    """It is absent like any key of a cache, whatever is asked."""
    assert view.get(key) is None
    assert view.get(key, 7) == 7
    assert key not in view
    assert not view.exists(key)
    with pytest.raises(KeyError):
        view[key]


def test_it_is_not_gone_through(view: SymbolView) -> None:
    """A search or a look-up is what a master is for."""
    with pytest.raises(TypeError, match="not iterable"):
        list(view)  # type: ignore[call-overload]  # that is the point


def test_keys_of_other_types(view: SymbolView) -> None:
    """Nothing else is in it."""
    assert 1 not in view
    assert None not in view


def test_many(view: SymbolView) -> None:
    """Those that there are, under the keys they were asked for with."""
    found = view.get_many(["M&M|NSE", ("M&M", "BSE"), "M&M|NSE", "NO|NSE", "no key"])
    assert found == {"M&M|NSE": view["M&M|NSE"], ("M&M", "BSE"): view["M&M|BSE"]}
    assert view.get_many([]) == {}


def test_a_bar_in_a_symbol(master: SymbolMaster) -> None:
    """The exchange is what stands behind the last bar."""
    master.import_master([row("A|B")])
    assert SymbolView(master)["A|B|NSE"]["symbol"] == "A|B"


@pytest.mark.parametrize(
    "write",
    [
        lambda view: view.set("A|NSE", {}),
        lambda view: view.add("A|NSE", {}, ttl=3),
        lambda view: view.set_many({}),
        lambda view: view.delete("M&M|NSE"),
        lambda view: view.delete_many(["M&M|NSE"]),
        lambda view: view.pop("M&M|NSE"),
        lambda view: view.pop("M&M|NSE", None),
        lambda view: view.popitem(),
        lambda view: view.touch("M&M|NSE", 3),
        lambda view: view.incr("M&M|NSE"),
        lambda view: view.clear(),
        lambda view: view.update({}),
        lambda view: view.setdefault("M&M|NSE", {}),
        lambda view: view.get_or_set("A|NSE", dict),
        lambda view: view.lock("A"),
        lambda view: view.__setitem__("A|NSE", {}),
        lambda view: view.__delitem__("M&M|NSE"),
    ],
)
def test_writing_is_refused(view: SymbolView, write: Callable[[SymbolView], object]) -> None:
    """A master is replaced as a whole, and the error says how."""
    with pytest.raises(ReadOnlyCacheError, match="import_master"):
        write(view)
    assert len(view) == len(ROWS)

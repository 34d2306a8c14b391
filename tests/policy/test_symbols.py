"""The view of the symbol master is judged like any other cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from openalgo_cache import AccessDeniedError
from openalgo_cache.symbols import SymbolView, generate_master
from tests.policy.modules import FRIEND, OF_EVERY_CLASS, STRANGER, ruled, run_as
from tests.policy.test_audited import said
from tests.stacks import manager

CALLS = (
    "view.get('X|Y')",
    "view.get_many(['X|Y'])",
    "view.exists('X|Y')",
    "view.size()",
    "'X|Y' in view",
    "len(view)",
    "view.master",
)


def test_every_look_up_is_judged(tmp_path: Path) -> None:
    """Who has the right finds what there is, who has none finds nothing; to write is refused to all."""
    generate_master(tmp_path / "master.csv", rows=50)
    house = ruled(tmp_path, f"[caches]\nsymbols = ['{FRIEND}']")
    run_as(FRIEND, "house.symbols(background=False).import_master(file)", house=house, file=tmp_path / "master.csv")
    view = house.get_cache("symbols")
    for source in (*CALLS, "view['X|Y']", "house.symbols()"):
        with pytest.raises(AccessDeniedError, match="the cache 'symbols'"):
            run_as(STRANGER, source, view=view, house=house)
    for source in CALLS:
        run_as(FRIEND, source, view=view)
    assert run_as(FRIEND, "result = len(view)", view=view) == 50
    with pytest.raises(TypeError, match="read-only view"):
        run_as(FRIEND, "view.set('X|Y', 1)", view=view)
    assert view
    assert repr(view).startswith("<GuardedSymbolView of")
    assert house.get_stats()["symbols"] == view.stats()
    house.close()


def test_nothing_public_was_forgotten(tmp_path: Path) -> None:
    """Each attribute is judged, refused to all, or tells of the master as a whole."""
    open_to_all = {"name", "stats", "__init__", "__bool__", "__repr__", "__iter__"}
    refused = {name for name, value in vars(SymbolView).items() if value is vars(SymbolView)["set"]}
    named = {name for name in vars(SymbolView) if not name.startswith("_") or name.endswith("__")}
    named -= OF_EVERY_CLASS
    assert named - open_to_all - refused == {
        *("get", "get_many", "exists", "size", "__getitem__", "__contains__", "__len__")
    }
    assert "master" in vars(type(ruled(tmp_path, "").get_cache("symbols")))


def test_look_ups_can_be_audited(tmp_path: Path) -> None:
    """One line each, if somebody lists the cache."""
    house = manager(tmp_path, cache_audit_enabled=True, cache_audit_caches=frozenset({"symbols"}))
    run_as(FRIEND, "view.get('X|Y')", view=house.get_cache("symbols"))
    assert [(line["operation"], line["caller"]) for line in said(house)] == [("GET", FRIEND)]
    house.close()

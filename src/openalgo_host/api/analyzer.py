"""Calls about the mode: analyse (paper) or live. This host's market is of paper in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openalgo_host.api import schemas
from openalgo_host.api.calls import Answer, Calls, Fields, RefusedCallError

if TYPE_CHECKING:
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host


def add(calls: Calls, host: Host) -> None:
    """Add them."""

    @calls.post("/analyzer", schemas.Call)
    def status(_caller: Caller, _call: Fields) -> Answer:
        return {"data": _shown(analyses=host.modes.analyses())}

    @calls.post("/analyzer/toggle", schemas.AnalyzerToggle)
    def toggle(caller: Caller, call: Fields) -> Answer:
        if caller.lease is not None:
            raise RefusedCallError(403, "A strategy's key cannot change the mode")
        host.modes.set_analyses(on=call["mode"])
        shown = _shown(analyses=call["mode"])
        return {"data": {**shown, "message": f"Analyzer mode switched to {shown['mode']}"}}


def _shown(*, analyses: bool) -> dict[str, object]:
    return {"analyze_mode": analyses, "mode": "analyze" if analyses else "live", "total_logs": 0}

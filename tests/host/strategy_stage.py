"""A host that serves, and runs strategies in real processes, by a clock that the test turns."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from openalgo_host.application import create_app
from openalgo_host.host import Host
from openalgo_host.limits import Rate, Rates
from tests.host.conftest import Credentials, Hands
from tests.host.pypi import client_of
from tests.servers.process import wait_until

MANY = Rates(*[Rate(1_000_000, 1)] * 3)
"""The clock stands still: no second ever ends."""
USER = 1

LONG = """
import threading
from openalgo_cache.strategies import StrategyState
with StrategyState.load() as mine:
    mine["runs"] = mine.get("runs", 0) + 1
print("run", mine["runs"])
threading.Event().wait()
"""
"""Counts its runs, and goes on until it is ended."""


PLACE = """
from openalgo_cache.strategies import StrategyState
from openalgo_cache.strategies.calls import HostCalls
calls = HostCalls()
mine = StrategyState.load()
def place(**order):
    return {"status": "success", **calls.ask("/placeorder", **order)}
def ask(path, **fields):
    return calls.ask(path, symbol="RELIANCE", exchange="NSE", **fields)
entry = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY"}
"""
"""How a strategy begins that orders without the client from PyPI, whose import takes a second."""


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Stage:
    """A host that serves.

    Attributes:
        host: The host.
        hands: Its clock.
        credentials: Its administrator's.
        port: Of a former one, to serve on the same address.
    """

    host: Host
    hands: Hands
    credentials: Credentials
    port: int = 0
    _client: Any = None
    _closing: ExitStack = field(default_factory=ExitStack)

    def open(self) -> None:
        """Serve."""
        self._server = make_server("127.0.0.1", self.port, create_app(self.host), threaded=True, request_handler=_Quiet)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.host.start(self.address)

    def freeze(self) -> None:
        """Look after no strategy any more, and tell nobody: as a process that was stopped by a signal."""
        supervisor = self.host.strategies.supervisor
        supervisor._stopping = True
        supervisor.wake()
        assert supervisor._thread is not None
        supervisor._thread.join(10)
        supervisor._thread = None

    def close(self) -> None:
        """Stop as the command does."""
        self._closing.close()
        self._client = None
        self._server.shutdown()
        self._server.server_close()
        self.host.close()
        self._thread.join(10)

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        """The client of the administrator, until the stage is closed."""
        if self._client is None:
            self._client = self._closing.enter_context(client_of(self.address, self.credentials.api_key))
        return self._client

    def run(self, source: str, until: str = "finished", **options: object) -> str:
        """Add a strategy, start it, wait until it is in a state, and return its number."""
        added = self.host.strategies.add(USER, f"strategy {len(self.host.strategies.list(USER))}", source, **options)  # type: ignore[arg-type]  # schedules of tests
        self.host.strategies.start(USER, added.id)
        self.wait(added.id, until)
        return added.id

    def wait(self, strategy_id: str, state: str) -> None:
        """Wait until a strategy is in a state."""
        strategies = self.host.strategies
        try:
            wait_until(lambda: strategies.get(USER, strategy_id).state == state, state)
        except AssertionError as error:
            raise AssertionError(f"{strategies.get(USER, strategy_id)}\n{self.log(strategy_id)}") from error

    def wait_for_line(self, strategy_id: str, line: str) -> None:
        """Wait until a strategy has printed something."""
        wait_until(lambda: line in self.log(strategy_id), line)

    def log(self, strategy_id: str) -> str:
        """Return the end of what a strategy printed."""
        return self.host.strategies.log_tail(USER, strategy_id)

    def values(self, strategy_id: str) -> dict[str, object]:
        """Return what a strategy has saved."""
        values: dict[str, object] = self.host.strategies.state(USER, strategy_id).data.get("values", {})
        return values

"""Two days of a strategy in a minute: it buys, its host is killed at night, and the next morning it sells.

python examples/two_days.py

A host of its own starts in a folder for the occasion, with real processes and a clock that is put forward by a day
while it is down. It stands on files in that folder, and touches nothing of another host: only what DEMO_CACHE_BACKEND,
DEMO_DATABASE_URL and so on say counts for it. The strategy is examples/strategies/two_days.py, as it is.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import waitress

from openalgo_cache import Settings
from openalgo_cache.symbols import COLUMNS
from openalgo_host.administrator import ensure_administrator
from openalgo_host.application import create_app
from openalgo_host.host import Host

STRATEGY = Path(__file__).with_name("strategies") / "two_days.py"
DAY = 86_400
SHARE = ["RELIANCE", "RELIANCE-EQ", "RELIANCE", "NSE", "NSE", "2885", "", "0", "1", "EQ", "0.05", ""]


def serve(folder, ahead):
    """Run a host whose clock is ahead by some seconds; the first one makes itself at home."""
    given = {name.removeprefix("DEMO_"): value for name, value in os.environ.items() if name.startswith("DEMO_")}
    ours = {"CACHE_AUTO_CONFIGURE": "false", "SQLITE_CACHE_PATH": str(folder / "db" / "cache")}
    settings = Settings.from_environment(given | ours, None)
    host = Host.open(settings, lambda: time.time() + ahead, given.get("DATABASE_URL", ""))
    if not host.symbols.count():
        with (folder / "contract.csv").open("w", newline="") as file:
            csv.writer(file).writerows((COLUMNS, SHARE))
        host.symbols.import_master(folder / "contract.csv")
    ensure_administrator(host, lambda text: print(text, flush=True))
    server = waitress.create_server(create_app(host), host="127.0.0.1", port=0)
    address = f"http://127.0.0.1:{server.effective_port}"
    host.start(address)
    threading.Thread(target=server.run, daemon=True).start()
    print(f"Serving: {address}", flush=True)
    sys.stdin.read()  # until it is killed


def main():
    """Play the two days."""
    with tempfile.TemporaryDirectory() as folder:
        print("Day 1: the host starts, and the strategy with it")
        shown, host = start(folder, 0)
        api = Api(shown["Serving"], shown["API key"])
        strategy = api.ask("strategy/add", name="two days", source=STRATEGY.read_text())["id"]
        api.ask("strategy/start", id=strategy)
        api.wait(strategy, "bought")
        print("Night: the host is killed (kill -9), and its strategy ends with it")
        host.kill()
        host.wait()

        print("Day 2: the host starts again")
        shown, host = start(folder, DAY)
        api = Api(shown["Serving"], api.key)
        api.wait(strategy, "sold")
        trades = api.ask("tradebook")
        print("Trades of day 2:", [(one["action"], one["quantity"], one["symbol"], one["timestamp"]) for one in trades])
        print("Positions:", [(one["symbol"], one["quantity"]) for one in api.ask("positionbook")])
        print("The strategy's state:", api.ask("strategy/state", id=strategy)["state"]["values"])
        host.kill()
        host.wait()


def start(folder, ahead):
    """Start a host as a process; return what it shows, and the process."""
    command = [sys.executable, __file__, "serve", folder, str(ahead)]
    host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves
    shown = {}
    for line in host.stdout:
        name, _, value = line.strip().partition(": ")
        shown[name] = value
        if name == "Serving":
            return shown, host
    sys.exit("the host did not start")


class Api:
    """Calls a host."""

    def __init__(self, address, key):
        self.address, self.key = address, key

    def ask(self, path, **fields):
        """Return what it answers."""
        answer = httpx.post(f"{self.address}/api/v1/{path}", json={"apikey": self.key, **fields}).json()
        return answer["data"] if answer["status"] == "success" else sys.exit(answer["message"])

    def wait(self, strategy, word):
        """Wait until the strategy has printed something, and show it."""
        for _ in range(300):
            for line in self.ask("strategy/log", id=strategy)["log"].splitlines():
                if line.startswith(word):
                    print("   The strategy says:", line)
                    return
            time.sleep(0.1)
        sys.exit(f"the strategy has not {word} anything")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), float(sys.argv[3]))
    else:
        main()

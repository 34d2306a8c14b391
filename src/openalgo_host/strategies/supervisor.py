"""Runs what is to run: one thread an instance looks once a second, and each strategy runs in one instance of the fleet.

Whoever runs a strategy holds the lease ``strategy/ID``. An instance that dies is taken over when its lease has run out:
within :data:`TAKEOVER` seconds the strategy runs elsewhere. One that was only paused finds its lease gone, and ends its
process; what that still sends in between is refused, since its key and its state know the lease's number.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from openalgo_cache import CacheError
from openalgo_cache.strategies import RunReplacedError, StaleStateError
from openalgo_host.leases import FencedOffError
from openalgo_host.strategies.charge import Charge
from openalgo_host.strategies.runs import Outcome, Run

if TYPE_CHECKING:
    from openalgo_host.strategies.configs import Config
    from openalgo_host.strategies.means import Means

_log = logging.getLogger("openalgo_host")

BEAT: Final = 1.0
"""Seconds between two looks."""
TAKEOVER: Final = 10.0
"""Seconds after which a strategy runs elsewhere if its instance has died: its lease, a beat, and the start."""


class Supervisor:
    """Runs the strategies that this instance gets.

    Args:
        means: What their runs need.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._address = ""
        self._configs: dict[str, Config] = {}
        self._runs: dict[str, Run] = {}
        self._charges: dict[str, Charge] = {}
        self._troubles: set[str] = set()
        self._tended_at = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._end = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, address: str) -> None:
        """Look after strategies in a thread, until :meth:`stop`.

        Args:
            address: Under which processes of this machine reach this instance.
        """
        self._address = address
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="openalgo-host strategies", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End what runs here, and let other instances have it at once; whoever asks second waits for that."""
        with self._end:
            if self._thread is None:
                return
            self._stopping = True
            self._wake.set()
            self._thread.join()
            self._thread = None
            for charge in self._charges.values():
                charge.ask_to_end()
            for charge in self._charges.values():
                self._attempt(charge.config.id, charge.end)
            self._charges.clear()

    def wake(self) -> None:
        """Look at once: a user has changed something."""
        self._wake.set()

    def beat(self) -> None:
        """Look once, and do what there is to do."""
        self._attempt("configurations", self._read)  # if they cannot be read, those known go on
        self._tend_all()
        for config in list(self._configs.values()):
            if config.id not in self._charges and not self._stopping:
                self._attempt(config.id, partial(self._consider, config))
            if time.monotonic() - self._tended_at > BEAT:  # or many that start would cost others their leases
                self._tend_all()

    def _run(self) -> None:
        self._attempt("folders", self._sweep)
        while not self._stopping:
            self.beat()
            self._wake.wait(BEAT)
            self._wake.clear()

    def _tend_all(self) -> None:
        self._tended_at = time.monotonic()
        for charge in list(self._charges.values()):
            self._attempt(charge.config.id, partial(self._tend, charge))

    def _read(self) -> None:
        configs = self._means.configs.all()
        self._runs = self._means.runs.last([one.id for one in configs]) if configs else {}
        self._configs = {one.id: one for one in configs}

    def _consider(self, config: Config) -> None:
        """Take charge of a strategy that is to run, or of which it is said that it does, if nobody has it."""
        now, run = self._means.clock(), self._runs.get(config.id)
        is_to_run = config.is_to_run(now)
        if run is not None and run.is_finished(config, now):
            is_to_run = False
        if is_to_run or (run is not None and run.outcome is Outcome.RUNNING):
            try:
                charge = Charge.take(self._means, config, self.wake)
            except (
                FencedOffError,
                RunReplacedError,
            ):  # this instance was paused in the middle, and another was quicker
                return
            if charge is not None:
                self._charges[config.id] = charge
                self._tend(charge)

    def _tend(self, charge: Charge) -> None:
        strategy_id = charge.config.id
        try:
            stays = charge.tend(self._configs.get(strategy_id), self._address)
        except (FencedOffError, RunReplacedError, StaleStateError):  # another instance was quicker, and has it
            charge.abandon()
            stays = False
        if not stays:
            del self._charges[strategy_id]

    def _sweep(self) -> None:
        """Remove the folders of strategies that were removed while this machine was away."""
        folder = self._means.folder
        if folder.is_dir():
            known = {one.id for one in self._means.configs.all()}
            for one in folder.iterdir():
                if one.name not in known:
                    shutil.rmtree(one, ignore_errors=True)

    def _attempt(self, what: str, act: Callable[[], object]) -> None:
        """Do one thing. What fails is told once, and tried again at the next beat; all else goes on."""
        try:
            act()
            self._troubles.discard(what)
        except (SQLAlchemyError, CacheError, OSError) as error:
            if what not in self._troubles:
                _log.error("strategies: %s: waits until this is over: %s", what, type(error).__name__)
            self._troubles.add(what)
        except Exception:  # noqa: BLE001  # a flaw that one strategy shows must not end the others
            _log.exception("strategies: %s: failed", what)

"""gunicorn for one instance of the host: ``gunicorn -c deploy/gunicorn.conf.py``, with the host's variables around it.

Its own command line wins over what stands here. Not for Windows, where ``openalgo-host`` itself serves.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class DrainingWorker(ThreadWorker):
    """Threads, and an orderly end: what has arrived is still answered, where gunicorn's own would hang up on it."""

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  # gunicorn's own
        """Take everything that waits, and let nothing more arrive, before the worker ends."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            taken = -1
            while taken != self.nr_conns:
                taken = self.nr_conns
                self.accept(listener)
            listener.close()


def on_starting(_server: object) -> None:
    """Load the program before the address is taken: what arrives from then on waits until the host is open.

    Before that, give the workers a folder where each leaves its counters: /metrics shows the sum (docs/monitoring.md).
    """
    _sweep()
    folder = tempfile.mkdtemp(prefix=_COUNTERS, dir=worker_tmp_dir)
    _locks.append(_lock(Path(folder, _LOCK), os.O_CREAT))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    import openalgo_host.wsgi  # noqa: F401, PLC0415  # opens nothing


_COUNTERS = "openalgo-metrics-"
_LOCK = "lock"
_locks: list[int] = []  # held for as long as this instance runs, its workers included


def _lock(path: Path, flags: int = 0) -> int:
    """Take a lock that ends with whoever has it, or raise OSError."""
    lock = os.open(path, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _sweep() -> None:
    """Remove the folders of instances that were killed: they lie in memory."""
    for folder in Path(worker_tmp_dir or tempfile.gettempdir()).glob(f"{_COUNTERS}*"):
        with suppress(OSError):  # it is in use, or another user's
            lock = _lock(folder / _LOCK)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


_host = os.environ.get("HOST", "").strip() or "127.0.0.1"
_port = os.environ.get("PORT", "").strip() or "5000"
_memory = Path("/dev/shm")  # noqa: S108  # on Linux

wsgi_app = "openalgo_host.wsgi:make_app()"
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"

# Each worker is a host of its own, opened after the fork. One is enough: threads share what it holds in its memory, and
# an instance that has to do more is better joined by another one (WEB_CONCURRENCY=2 would work all the same).
preload_app = False
worker_class = DrainingWorker
threads = 48  # up to 16 for streams of events, and 16 for pages that wait for the sessions' server to come back
worker_tmp_dir = str(_memory) if _memory.is_dir() else None  # or a slow disk could make a worker look dead

timeout = 120  # seconds; the first start of an instance fetches the symbol master
graceful_timeout = 20  # what is under way may take as long; then leases are let go of

# Who the client is, and whether over TLS, is decided in one place: the host's PROXY_HOPS.
forwarded_allow_ips = ""

accesslog = None  # the balancer's has the requests, and no queries, in which API keys may stand
errorlog = "-"
control_socket_disable = True
umask = 0o077


def child_exit(_server: Any, worker: Any) -> None:
    """Let the memory of a worker that ended no longer count; what it counted goes on counting."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # it looks for the folder when loaded

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # it has no types


def on_exit(_server: Any) -> None:
    """Remove the folder."""
    shutil.rmtree(os.environ.pop("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)

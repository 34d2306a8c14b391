"""HAProxy with the very file of ``deploy/haproxy``: only addresses are put in, and checks are quicker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final

from tests.servers.process import DEADLINE, HOST, free_port, wait_until
from tests.servers.programs import do_without

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"


class HAProxy:
    """One HAProxy that listens on this machine alone.

    Args:
        program: Its program.
        folder: An empty folder.
        ports: Those of the instances behind it.
        sticky: Whether visitors stay with an instance.
    """

    def __init__(self, program: Path, folder: Path, *ports: int, sticky: bool = False) -> None:
        self.port = free_port()
        self._log = folder / "haproxy.log"
        text = CONFIGURATION.read_text(encoding="utf-8")
        for what in ("user", "group", "chroot"):  # of the system's own
            text = re.sub(rf"^ +{what} .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("bind :80\n", f"bind {HOST}:{self.port}\n")
        text = text.replace("inter 1s fastinter 500ms", "inter 100ms fastinter 50ms")  # nobody waits for that here
        for number, name in enumerate(("one", "two", "three")):
            there = f"{HOST}:{ports[number]}" if number < len(ports) else None
            line = rf"^( +server {name}) \S+(.*\n)"
            text = re.sub(line, rf"\1 {there}\2" if there else "", text, flags=re.MULTILINE)
        if sticky:
            text = text.replace("default_backend openalgo\n", "default_backend openalgo_sticky\n", 1)
        configuration = folder / "haproxy.cfg"
        configuration.write_text(text, encoding="utf-8")
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [program, "-db", "-f", configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, f"HAProxy at {HOST}:{self.port} to listen")

    def logged(self) -> str:
        """Return what it logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Wait until it logs something."""
        wait_until(lambda: len(re.findall(pattern, self.logged())) >= times, f"{pattern!r} in HAProxy's log")

    def served(self, method: str, path: str) -> list[str]:
        """Return by which servers the requests of a path were served, one after the other."""
        return re.findall(rf"\] {method} {re.escape(path)} \d+ \d+ \d+ (\S+) ", self.logged())

    def stop(self) -> None:
        """End it."""
        self._popen.terminate()
        self._popen.wait(DEADLINE)

    def _listens(self) -> bool:
        assert self._popen.poll() is None, self.logged()
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


def require_haproxy() -> Path:
    """Return HAProxy's program; without it the test is skipped, or fails on Linux where CI is set."""
    found = shutil.which(
        "haproxy", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"
    )
    if found is None:
        do_without("there is no HAProxy on this machine: install haproxy (Debian's package of that name)")
    return Path(found)

"""nginx before the instances, with the very files of ``deploy/nginx``: only addresses and paths are put in."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.fleet.instance import ROOT
from tests.servers.process import DEADLINE, HOST, wait_until
from tests.servers.programs import do_without

_FILES: Final = ROOT / "deploy" / "nginx"

_AROUND: Final = """\
{user}daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/openalgo-error.log error;
events {{ }}
http {{
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/upstream.conf;
    include {folder}/openalgo.conf;
}}
"""

_LINE: Final = re.compile(r'" (\d{3}) \d+ [\d.]+ (.*)$')
"""Of its log: the status, and who was asked."""
_ADDRESS: Final = r"\d+\.\d+\.\d+\.\d+:\d+"


class Passed(NamedTuple):
    """A request that it passed on.

    Attributes:
        line: What its log has of it.
        status: With which it was answered.
        instances: The addresses of the instances that were asked, one after the other.
    """

    line: str
    status: int
    instances: list[str]


class Nginx:
    """One nginx that listens on this machine alone.

    Args:
        program: Its program.
        folder: An empty folder.
        port: Where it listens.
        instances: The addresses of those behind it.
        sticky: Whether visitors stay with an instance.
    """

    def __init__(
        self, program: Path, folder: Path, port: int, instances: Sequence[str], *, sticky: bool = False
    ) -> None:
        self._program = program
        self._folder = folder
        self.port = port
        upstream = "upstream-sticky.conf" if sticky else "upstream.conf"
        self._write("upstream.conf", with_servers((_FILES / upstream).read_text(encoding="utf-8"), instances))
        site = (_FILES / "openalgo.conf").read_text(encoding="utf-8")
        site = site.replace("listen 80;", f"listen {HOST}:{port};").replace("/var/log/nginx", str(folder))
        self._write("openalgo.conf", site)
        user = "user root;\n" if os.geteuid() == 0 else ""
        self._write("nginx.conf", _AROUND.format(folder=folder, user=user))
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its main process."""
        assert self._popen is not None, "nginx was not started"
        return self._popen.pid

    def start(self) -> None:
        """Start it, and return when it listens."""
        with (self._folder / "nginx.log").open("ab") as log:
            self._popen = subprocess.Popen(
                [self._program, "-p", self._folder, "-c", self._folder / "nginx.conf"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, f"nginx at {HOST}:{self.port} to listen")

    def stop(self) -> None:
        """End it; nothing happens if it does not run."""
        popen, self._popen = self._popen, None
        if popen is not None:
            popen.send_signal(signal.SIGTERM)
            popen.wait(DEADLINE)

    def requests(self) -> list[Passed]:
        """Return what it passed on, as its log has it; of what it does just now the line may be late."""
        lines = (self._folder / "openalgo.log").read_text(encoding="utf-8").splitlines()
        found = [_LINE.search(line) for line in lines]
        return [
            Passed(line, int(one[1]), re.findall(_ADDRESS, one[2]))
            for line, one in zip(lines, found, strict=True)
            if one
        ]

    def _listens(self) -> bool:
        assert self._popen is not None
        assert self._popen.poll() is None, (self._folder / "nginx.log").read_text(encoding="utf-8")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")


def with_servers(upstream: str, addresses: Sequence[str]) -> str:
    """Return an upstream file with other servers in the place of its own, on the same terms."""
    line = re.search(r"^( *server )\S+( .*;\n)", upstream, re.MULTILINE)
    assert line is not None
    rest = re.sub(r"^ *server .*\n", "", upstream, flags=re.MULTILINE)
    begin, _, end = rest.rpartition("}")
    return begin + "".join(f"{line[1]}{address}{line[2]}" for address in addresses) + "}" + end


def find_nginx() -> Path | None:
    """Return nginx's program, or None if it is not on this machine; /usr/sbin is not on everybody's path."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin")
    return None if found is None else Path(found)


def require_nginx() -> Path:
    """Return nginx's program; without it the test is skipped, or fails on Linux where CI is set."""
    program = find_nginx()
    if program is None:
        do_without("there is no nginx on this machine: install nginx-light (Debian's package of that name)")
    return program

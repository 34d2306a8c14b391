"""``python -m tests.security.fuzz [TARGET ...] [--minutes N]``: look for cases that are not as promised.

With ``atheris`` (``pip install atheris``) the search is led by what of the code a case reaches; without it cases are
made at random. Each target has its share of the time, in a process of its own. A case for which something is not as
promised is written to ``tests/security/corpus/TARGET/``, where the tests replay it. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

_EVERY: Final = 5.0
"""Seconds from one line of progress to the next."""

Judge = Callable[[bytes], None]


def main() -> int:
    """Share the time out among the targets; return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Look for cases that are not as promised.")
    parser.add_argument("targets", nargs="*", help="which ones; all of them if left out")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, in all (10)")
    parser.add_argument("--seed", type=int, default=None, help="of what is made at random")
    parser.add_argument("--reached", type=Path, help="a folder for the cases that reached something new")
    parser.add_argument("--alone", type=float, help=argparse.SUPPRESS)  # seconds: this process works on one target
    options = parser.parse_args()
    if options.alone:
        try:
            return _work_on(options.targets[0], options.alone, options.seed, options.reached)
        except KeyboardInterrupt:  # while it gets ready; later the loop itself ends
            return 130
    from tests.security.fuzz.targets import TARGETS  # atheris has to come before it, in the workers

    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    seconds = options.minutes * 60 / len(names)
    seed = random.randrange(2**31) if options.seed is None else options.seed
    how = "led by coverage (atheris)" if find_spec("atheris") else "at random: atheris is not installed"
    print(f"{len(names)} targets, {seconds:.0f} s each, seed {seed}, {how}")
    found = 0
    for name in names:
        command = [sys.executable, "-m", "tests.security.fuzz", name, "--alone", str(seconds), "--seed", str(seed)]
        if options.reached is not None:
            (folder := options.reached / name).mkdir(parents=True, exist_ok=True)
            command += ["--reached", str(folder)]
        with subprocess.Popen(command) as worker:
            try:
                found += worker.wait() != 0
            except KeyboardInterrupt:
                worker.wait()
                print(f"\nended; {found} targets with findings")
                return 130
    print(f"{found} targets with findings")
    return int(found > 0)


class Progress:
    """Counts cases and findings, and says so now and then.

    Args:
        name: The target.
        seconds: How long it is worked on.
        judge: Raises for a finding.
        folder: Where findings go.
    """

    def __init__(self, name: str, seconds: float, judge: Judge, folder: Path) -> None:
        self.cases = 0
        self.reasons: set[str] = set()
        self._name = name
        self._judge = judge
        self._folder = folder
        self._begun = time.monotonic()
        self.end = self._begun + seconds
        self._next = self._begun + _EVERY

    def try_out(self, data: bytes) -> None:
        """Judge one case; keep it if it is a finding of a kind that was not there before."""
        from tests.security.fuzz.judging import Finding  # see main

        self.cases += 1
        try:
            self._judge(data)
        except Finding as finding:
            reason = str(finding)[:80]
            if reason not in self.reasons:
                self.reasons.add(reason)
                self._folder.mkdir(parents=True, exist_ok=True)
                (self._folder / f"found-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
                print(f"\r{self._name}: FOUND {finding!s:.200}", flush=True)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            self.say("\r")

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() >= self.end

    def say(self, end: str) -> None:
        """Print how far it is."""
        took = time.monotonic() - self._begun
        rate = self.cases / max(took, 0.001)
        line = f"{self._name:12} {self.cases:>10,} cases, {rate:>7,.0f}/s, {took:4.0f} s, {len(self.reasons)} findings"
        print(line, end=end, flush=True)


def _work_on(name: str, seconds: float, seed: int, reached: Path | None) -> int:
    """Work on one target until the time is up."""
    atheris: Any = import_module("atheris") if find_spec("atheris") else None
    ours = ["openalgo_cache", "openalgo_host"]
    with nullcontext() if atheris is None else atheris.instrument_imports(include=ours):
        from tests.security.fuzz.judging import opened  # instrumented, with all that they import
        from tests.security.fuzz.mutation import MOST_BYTES, mutate  # likewise
        from tests.security.fuzz.seeds import CORPUS, seeds_of  # likewise
        from tests.security.fuzz.targets import TARGETS  # likewise
    cases, chance = seeds_of(name), random.Random(seed)
    with ExitStack() as stack:
        work = reached or Path(stack.enter_context(TemporaryDirectory(prefix="oac-fuzz-")))
        progress = Progress(name, seconds, stack.enter_context(opened(TARGETS[name])), CORPUS / name)

        def step(data: bytes) -> None:
            try:
                progress.try_out(data)
            except KeyboardInterrupt:
                progress.end = 0.0
            if progress.is_over() and atheris is not None:  # its loop has no other end
                progress.say("\n")
                stack.close()
                os._exit(bool(progress.reasons))

        for data in cases:
            step(data)
            if len(data) <= MOST_BYTES:
                (work / hashlib.sha256(data).hexdigest()).write_bytes(data)
        if atheris is not None:
            limits: dict[str, object] = {
                "max_len": MOST_BYTES,
                "seed": seed,
                "verbosity": 0,
                "rss_limit_mb": 1024,
                "timeout": 60,
            }
            limits |= {"handle_int": 0, "reload": 0, "artifact_prefix": f"{CORPUS / name}-"}
            atheris.Setup([name, *(f"-{option}={value}" for option, value in limits.items()), str(work)], step)
            atheris.Fuzz()
        while not progress.is_over():
            step(mutate(chance, cases))
        progress.say("\n")
    return int(bool(progress.reasons))


if __name__ == "__main__":
    sys.exit(main())

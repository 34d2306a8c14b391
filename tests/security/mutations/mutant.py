"""A mutant: the product with one of its defences taken out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[3]
SOURCE: Final = ROOT / "src"
_FAILED: Final = 1
"""What pytest ends with when a test failed; anything else above 0 is no verdict."""


class Mutant(NamedTuple):
    """One defence, and how to take it out.

    Attributes:
        what: What is not defended any more.
        file: Where, below ``src``.
        old: The text that defends it.
        new: What stands there instead.
        test: What must fail then, as pytest takes it.
        times: How often the text stands there.
    """

    what: str
    file: str
    old: str
    new: str
    test: str
    times: int = 1

    def apply(self, source: Path) -> None:
        """Take the defence out of a copy of the source."""
        path = source / self.file
        text = path.read_text(encoding="utf-8")
        count = text.count(self.old)
        assert count == self.times, f"{self.file} has the text {count} times: {self.old!r}"
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")

    def is_noticed(self, folder: Path) -> tuple[bool, str]:
        """Run the test against the mutant; return whether it failed, and what it printed.

        Args:
            folder: An empty folder for the mutant.
        """
        source = folder / "src"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        self.apply(source)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-m",
                "not soak",
                "-p",
                "no:cacheprovider",
                *self.test.split(),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        crashed = done.returncode < 0  # as a decoder does that nobody keeps from exhausting the stack
        assert crashed or done.returncode in {0, _FAILED}, f"no verdict on {self.what!r}:\n{said[-3000:]}"
        return done.returncode != 0, said

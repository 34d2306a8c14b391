"""What is wrong with a configuration: one finding a fault, all of them reported together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from openalgo_cache.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "(hidden)"
"""What stands in messages and listings where a secret is set."""

_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of the configuration.

    Attributes:
        variable: The environment variable, or the place in the file (``.env:12``).
        value_shown: Its value, shortened and printable, or ``(hidden)``; empty where it is not set.
        problem: What is wrong, to be read after the variable's name: ``is not a whole number``.
        fix: What to do about it, an imperative sentence without its full stop.
        severity: ``error`` keeps the caches from being built, ``warning`` does not.
    """

    variable: str
    value_shown: str
    problem: str
    fix: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        value = f"={self.value_shown}" if self.value_shown else ""
        return f"{self.variable}{value} {self.problem}. {self.fix}{'' if self.fix.endswith('?') else '.'}"


class InvalidSettingsError(ConfigurationError):
    """The settings cannot work; ``findings`` lists every fault, and the message has a line for each."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.severity == "error"]
        count = "1 setting" if len(errors) == 1 else f"{len(errors)} settings"
        lines = [f"  {finding}" for finding in errors]
        lines += [f"  (warning) {finding}" for finding in findings if finding.severity == "warning"]
        super().__init__("\n".join([f"{count} of the cache cannot work:", *lines]))
        self.findings: list[Finding] = list(findings)


def shown(text: str) -> str:
    """Return ``text`` so that it can stand in a log line: short, and without line breaks or control characters."""
    printable = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return printable if len(printable) <= _LONGEST_SHOWN else printable[: _LONGEST_SHOWN - 1] + "…"

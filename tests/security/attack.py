"""How the attacks are counted, and the table that says what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

PROPERTY: Final = "attack"
"""Under this name a test's report carries its figures, from a worker as well."""


class Attack:
    """Counts the attempts of one test.

    Args:
        figures: Where they are counted; it travels with the test's report.
        falls: Whether they are meant to succeed: then the target is the model of the proposal, and it is the test that
            is tested.
    """

    def __init__(self, figures: dict[str, Any], *, falls: bool = False) -> None:
        self._figures = figures
        self._falls = falls
        figures |= {"attempts": 0, "rejected": 0, "falls": falls}

    def tried(self, *, succeeded: bool, what: object = "it", times: int = 1) -> None:
        """Note an attempt, or several of one outcome.

        Args:
            succeeded: Whether it did what an attacker wants.
            what: What was tried, to be named where the outcome is wrong.
            times: How many attempts these were.

        Raises:
            AssertionError: Our own code gave way; or the proposal's model did not, so that the test proves nothing.
        """
        self._figures["attempts"] += times
        self._figures["rejected"] += 0 if succeeded else times
        if succeeded and not self._falls:
            raise AssertionError(f"the attack succeeded: {what}")
        if self._falls and not succeeded:
            raise AssertionError(f"the test does not bite, the proposal's model withstood: {what}")


@dataclass(slots=True)
class Line:
    """One line of the table: what all tests of one attack found."""

    attempts: int = 0
    rejected: int = 0
    failed: bool = False
    skipped: bool = False
    proposal: str = "-"

    def add(self, figures: dict[str, Any], outcome: str) -> None:
        """Add what one test found."""
        if figures["falls"]:
            self.proposal = "falls" if outcome == "passed" else outcome
        else:
            self.attempts += figures["attempts"]
            self.rejected += figures["rejected"]
            self.skipped |= outcome == "skipped"
        self.failed |= outcome == "failed"

    @property
    def verdict(self) -> str:
        """Return what is to be thought of it."""
        if self.failed or self.rejected < self.attempts:
            return "BROKEN"
        return "not run" if self.skipped or not self.attempts else "held"


def table(reports: Iterable[Any]) -> list[str]:
    """Return the table of what the reports of tests say; nothing if none of them was an attack."""
    lines: dict[tuple[str, str], Line] = {}
    for report in reports:
        for name, figures in getattr(report, "user_properties", ()):  # a module that cannot be imported has none
            if name == PROPERTY and (report.when == "call" or report.outcome != "passed"):
                line = lines.setdefault((figures["row"], figures["title"]), Line())
                line.add(figures, report.outcome)
    if not lines:
        return []
    rows, width = (max(map(len, column)) for column in zip(("row", "all"), *lines, strict=True))
    head = f"{'row':{rows}}  {'attack':{width}}  {'attempts':>9}  {'rejected':>9}  {'verdict':8}  proposal"
    body = [
        f"{row:{rows}}  {title:{width}}  {line.attempts:>9,}  {line.rejected:>9,}  {line.verdict:8}  {line.proposal}"
        for (row, title), line in sorted(lines.items())
    ]
    attempts, rejected = (sum(getattr(line, name) for line in lines.values()) for name in ("attempts", "rejected"))
    return [head, *body, f"{'':{rows}}  {'all':{width}}  {attempts:>9,}  {rejected:>9,}"]

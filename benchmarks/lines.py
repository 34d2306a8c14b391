"""One line of the table: a figure, and the target that it is held against, if it has one."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Line(TypedDict):
    """A figure of one run.

    Attributes:
        what: What was measured, in a few words.
        value: The figure.
        unit: ``x`` for a ratio, else ``ms``, ``us``, ``/s`` and so on.
        target: What the figure is held against, if there is a target.
        best: Whether the figure should be at most or at least the target.
        note: Where the figure comes from: the two sides of a ratio, say.
    """

    what: str
    value: float
    unit: str
    target: NotRequired[float]
    best: NotRequired[Literal["low", "high"]]
    note: NotRequired[str]


def holds(line: Line) -> bool | None:
    """Return whether a line meets its target; None if it has none."""
    if "target" not in line:
        return None
    high = line.get("best") == "high"
    return line["value"] >= line["target"] if high else line["value"] <= line["target"]

"""What ``doctor`` prints with ``--json``."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict


class Check(TypedDict):
    """One thing that was looked at."""

    check: Annotated[str, "its name"]
    status: Annotated[Literal["ok", "warning", "error"], "how it is"]
    what: Annotated[str, "what was found"]
    fix: Annotated[str | None, "what to do about it"]


class Diagnosis(TypedDict):
    """What `doctor` prints."""

    errors: Annotated[int, "how many checks found one"]
    warnings: Annotated[int, "likewise"]
    checks: Annotated[list[Check], "every check, the worst first"]

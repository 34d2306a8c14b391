"""What ``use`` prints with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Used(TypedDict):
    """What `use` prints."""

    backend: Annotated[str, "what is recorded now"]
    previous: Annotated[str | None, "what was recorded before"]
    record: Annotated[str, "the file that it is recorded in"]
    in_effect: Annotated[bool, "whether the record decides; if not, `decided_by` does"]
    decided_by: Annotated[str, "`recorded`, or the variable that decides in its place"]
    left_behind: Annotated[dict[str, int], "entries that stay in the SQLite files, by cache"]

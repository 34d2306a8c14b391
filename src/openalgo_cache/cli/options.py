"""Arguments and options that several commands have."""

from __future__ import annotations

import re
from typing import Annotated

import typer


def cache_name(name: str | None) -> str | None:
    """Return a cache's name, or refuse what cannot be one."""
    if name is not None and re.fullmatch(r"[a-z0-9_-]{1,64}", name) is None:
        raise typer.BadParameter("a cache's name is 1 to 64 of the characters a-z 0-9 _ -")
    return name


def cache_names(names: list[str] | None) -> list[str] | None:
    """Return caches' names, or refuse what cannot be one."""
    for name in names or ():
        cache_name(name)
    return names


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The cache's name, such as auth.", callback=cache_name, show_default=False)
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
TypedKey = Annotated[
    bool,
    typer.Option(
        "--typed-key", help="KEY is written as 'list' prints it: !i2026 is the int 2026, not the text. Else it is text."
    ),
]
Encrypted = Annotated[
    bool, typer.Option("--encrypted", help="The application opens this cache with encrypted=True in its own code.")
]
Blinded = Annotated[
    bool, typer.Option("--blinded", help="The application opens this cache with blinded=True in its own code.")
]
Caches = Annotated[
    list[str] | None,
    typer.Option(
        "--cache",
        metavar="NAME",
        help="Only this cache; may be said several times.",
        callback=cache_names,
        show_default=False,
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable",
        help="Go on when a record of a cache that is the only copy cannot be verified. Elsewhere such a record is "
        "passed over anyway. It is never deleted.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace also what was written later than what comes, or at the same time.")
]
KeepExisting = Annotated[bool, typer.Option("--keep-existing", help="Replace nothing that can be read.")]

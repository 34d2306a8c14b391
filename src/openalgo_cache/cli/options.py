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


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The cache's name, such as auth.", callback=cache_name, show_default=False)
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
TypedKey = Annotated[
    bool,
    typer.Option(
        "--typed-key", help="KEY is written as 'keys' prints it: !i2026 is the int 2026, not the text. Else it is text."
    ),
]
Encrypted = Annotated[
    bool, typer.Option("--encrypted", help="The application opens this cache with encrypted=True in its own code.")
]
Blinded = Annotated[
    bool, typer.Option("--blinded", help="The application opens this cache with blinded=True in its own code.")
]

"""``openalgo-cache stats``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json, cache_name
from openalgo_cache.cli.shapes.stats import Stats


@command(app, "stats", Stats, "stats", "stats auth", "stats auth --json")
def stats(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="One cache; without it, all that have something stored.",
            callback=cache_name,
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show how much the caches hold, and when they were used.

    These are the store's figures. Hits and misses are counted in each process that uses a cache, and are not seen from
    here. Exit code 1: nothing of NAME is stored.
    """
    from openalgo_cache.cli import figures  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(figures.stats(context.obj, name, as_json=as_json))

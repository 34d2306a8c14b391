"""``openalgo-cache info``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json
from openalgo_cache.cli.shapes.info import Info


@command(app, "info", Info, "info", "info --all", "--env-file /srv/openalgo/.env info --json")
def info(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also show the variables that have their defaults.")] = False,
    as_json: Json = False,
) -> None:
    """Show the settings in effect, the backend and why, the caches.

    Secrets are hidden. Nothing is created or recorded: of a backend that is not chosen yet it says which would be.
    """
    from openalgo_cache.cli import overview  # noqa: PLC0415  # heavy; --help does without

    overview.info(context.obj, every_setting=every, as_json=as_json)

"""``openalgo-cache use``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json
from openalgo_cache.cli.shapes.use import Used


@command(app, "use", Used, "use sqlite")
def use(
    context: typer.Context,
    backend: Annotated[
        str, typer.Argument(metavar="BACKEND", help="Its name: sqlite, or what is installed.", show_default=False)
    ],
    *,
    as_json: Json = False,
) -> None:
    """Record which backend keeps the caches from now on.

    What the backend before it holds stays there, unseen: copy brings it over. CACHE_BACKEND, MULTI_INSTANCE_MODE=true
    and CACHE_AUTO_CONFIGURE=false win over the record. Processes that run keep the backend they have.
    """
    from openalgo_cache.cli import recording  # noqa: PLC0415  # heavy; --help does without

    recording.use(context.obj, backend, as_json=as_json)

"""``openalgo-cache access``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json, Name
from openalgo_cache.cli.shapes.access import AccessListed, Allowed

access = typer.Typer(
    no_args_is_help=True,
    help="Say which modules may use which caches, and why.",
    epilog="The rules are those that CACHE_ACCESS_RULES names; docs/access.md explains them.",
    rich_markup_mode=None,
)
app.add_typer(access, name="access")


@command(access, "access list", AccessListed, "access list", "access list --json")
def list_rules(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the access rules in effect: for each cache, and each right, the patterns of modules."""
    from openalgo_cache.cli import permissions  # noqa: PLC0415  # heavy; --help does without

    permissions.list_rules(context.obj, as_json=as_json)


@command(access, "access check", Allowed, "access check auth plugins.stranger", "access check quotes __main__ --json")
def check(
    context: typer.Context,
    name: Name,
    module: Annotated[
        str, typer.Argument(metavar="MODULE", help="Its dotted name, such as services.orders.", show_default=False)
    ],
    *,
    as_json: Json = False,
) -> None:
    """Say what a module may do with a cache, and which pattern says so.

    Exit code 1: it may not do everything.
    """
    from openalgo_cache.cli import permissions  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(permissions.check(context.obj, name, module, as_json=as_json))

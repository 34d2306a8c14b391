"""``openalgo-cache keys rotate`` and ``keys retire``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import command
from openalgo_cache.cli.commands.keys import KeyId, keys
from openalgo_cache.cli.options import Json
from openalgo_cache.cli.shapes.rotation import Retired, Rotated


@command(keys, "keys rotate", Rotated, "keys rotate", "keys rotate --retire", "keys rotate --json")
def rotate(
    context: typer.Context,
    *,
    retire: Annotated[
        bool, typer.Option("--retire", help="Then take the old keys out of the ring; takes a minute longer.")
    ] = False,
    no_new_key: Annotated[
        bool, typer.Option("--no-new-key", help="Seal anew with the key that is active already, and add none.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Seal whatever is stored with another key, while applications read and write.

    Adds a key, or takes one that was added and never active, waits until every instance holds it, activates it, and
    seals anew what older keys sealed: in all cache files beside the ring, on the servers that the settings name, and
    in the backups of state. A rotation that was interrupted is finished by the same command. Exit code 6: something
    still needs an old key, or an instance still seals with one.
    """
    from openalgo_cache.cli import rotating  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(rotating.rotate(context.obj, new_key=not no_new_key, retire=retire, as_json=as_json))


@command(keys, "keys retire", Retired, "keys retire 1a2b3c4d", "keys retire 1a2b3c4d --skip-unreadable")
def retire(
    context: typer.Context,
    which: KeyId,
    *,
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable",
            help="Also if records name the key that cannot be verified. They stay, and are as unreadable as before.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a key out of the ring that nothing needs any more, for good.

    Everything is counted first, and once more afterwards. Exports, and copies of files, from the key's time can be read
    only with the ring of that time. Exit code 1: the key stays, since records or backups need it, an instance seals
    with it, or it was the active one less than a minute ago; the counts say where.
    """
    from openalgo_cache.cli import rotating  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(rotating.retire(context.obj, which, skip_unreadable=skip_unreadable, as_json=as_json))

"""``openalgo-cache keys``: the key ring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Caches, Json
from openalgo_cache.cli.shapes.keys import KeyRingChanged, KeyRingListed, KeyRingVerified

keys = typer.Typer(
    no_args_is_help=True,
    help="Look after the key ring: who seals, who opens, who holds what.",
    epilog="docs/keys.md tells the life of a key. No command ever shows a secret.",
    rich_markup_mode=None,
)
app.add_typer(keys, name="keys")


def key_id(text: str) -> int:
    """Return the key id that a text names, or refuse it."""
    if len(text) == 8:
        try:
            return int.from_bytes(bytes.fromhex(text), "big")
        except ValueError:
            pass
    raise typer.BadParameter("a key's id is eight hexadecimal digits, as 'keys list' shows it")


KeyId = Annotated[int, typer.Argument(metavar="ID", help="The key's id.", parser=key_id, show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write the ring to this new file, readable by you alone, and change nothing else: for a ring that lies "
        "where it cannot be changed from here.",
        show_default=False,
    ),
]


@command(keys, "keys list", KeyRingListed, "keys list", "keys list --json")
def list_keys(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the keys of the ring, and who is known to hold them.

    Where instances share a server, each tells there which keys it holds. Exit code 1: there is no key ring.
    """
    from openalgo_cache.cli import keyring  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(keyring.list_keys(context.obj, as_json=as_json))


@command(keys, "keys create", KeyRingChanged, "keys create", "keys create --output new.ring")
def create(
    context: typer.Context,
    *,
    output: Output = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Also where files lie that only a ring that is gone can open.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a new key ring where there is none: for several hosts, or to start afresh after one was lost.

    A single host needs no such command: the first start makes the ring. What another ring has sealed stays unreadable.
    """
    from openalgo_cache.cli import keyring  # noqa: PLC0415  # heavy; --help does without

    keyring.create(context.obj, output, confirmed=yes, as_json=as_json)


@command(keys, "keys add", KeyRingChanged, "keys add", "keys add --output new.ring")
def add(context: typer.Context, *, output: Output = None, as_json: Json = False) -> None:
    """Add a new key, which opens and does not seal yet.

    So every instance can learn it before anybody seals with it. Processes of this host have it within seconds; other
    hosts get the file.
    """
    from openalgo_cache.cli import keyring  # noqa: PLC0415  # heavy; --help does without

    keyring.add(context.obj, output, as_json=as_json)


@command(keys, "keys activate", KeyRingChanged, "keys activate 1a2b3c4d")
def activate(
    context: typer.Context,
    which: KeyId,
    *,
    output: Output = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also if an instance is not known to hold the key, or cannot be asked.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Have a key of the ring seal what is written from now on; the one before opens on.

    Refused while an instance that shares the store does not hold the key: it could not read what is written.
    """
    from openalgo_cache.cli import keyring  # noqa: PLC0415  # heavy; --help does without

    keyring.activate(context.obj, which, output, force=force, as_json=as_json)


@command(keys, "keys verify", KeyRingVerified, "keys verify", "keys verify --cache auth --json")
def verify(context: typer.Context, *, cache: Caches = None, as_json: Json = False) -> None:
    """Look whether the ring is sound, opens what is stored, and is the same for all instances.

    Every record is opened, none is changed or shown; on a server those of the catalogue's caches, unless --cache names
    others. Exit code 6: something is wrong.
    """
    from openalgo_cache.cli import keycheck  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(keycheck.verify(context.obj, cache, as_json=as_json))

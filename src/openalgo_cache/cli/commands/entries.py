"""``openalgo-cache get``, ``set``, ``delete``, ``list`` and ``clear``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Blinded, Encrypted, Json, Key, Name, TypedKey
from openalgo_cache.cli.shapes.entries import Cleared, Deleted, Got, Keys, Stored


@command(app, "get", Got, "get settings theme", "get settings theme --reveal", "get auth user_123 --json")
def get(  # noqa: PLR0913  # its options
    context: typer.Context,
    name: Name,
    key: Key,
    *,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the value, too.")] = False,
    typed_key: TypedKey = False,
    encrypted: Encrypted = False,
    blinded: Blinded = False,
    as_json: Json = False,
) -> None:
    """Show an entry: type, size and expiry, and with --reveal the value.

    Every cache that can be reached from here is sealed (signed or encrypted), so no value is shown unless it is asked
    for. Exit code 1: there is no such entry.
    """
    from openalgo_cache.cli import records  # noqa: PLC0415  # heavy; --help does without

    target = records.Target(env_file=context.obj, name=name, as_json=as_json, encrypted=encrypted, blinded=blinded)
    raise typer.Exit(records.get(target, key, typed=typed_key, reveal=reveal))


@command(
    app,
    "set",
    Stored,
    "set settings theme dark",
    "set quotes NIFTY '{\"ltp\": 24000.5}' --json-value --ttl 60",
    "set auth user_123 - < token.txt",
)
def put(  # noqa: PLR0913  # its options
    context: typer.Context,
    name: Name,
    key: Key,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="The value, as text. - reads it from standard input: what is typed here, others may see in the list "
            "of processes.",
            show_default=False,
        ),
    ],
    *,
    ttl: Annotated[
        str | None,
        typer.Option(
            "--ttl",
            metavar="SECONDS|none",
            help="How long it lasts; none is for ever. Without it, the cache's own lifetime.",
            show_default=False,
        ),
    ] = None,
    json_value: Annotated[
        bool, typer.Option("--json-value", help="VALUE is JSON: a number, a list, an object, and so on.")
    ] = False,
    typed_key: TypedKey = False,
    encrypted: Encrypted = False,
    blinded: Blinded = False,
    as_json: Json = False,
) -> None:
    """Store a value."""
    from openalgo_cache.cli import records  # noqa: PLC0415  # heavy; --help does without

    target = records.Target(env_file=context.obj, name=name, as_json=as_json, encrypted=encrypted, blinded=blinded)
    raise typer.Exit(records.put(target, key, value, ttl=ttl, typed=typed_key, is_json=json_value))


@command(app, "delete", Deleted, "delete auth user_123", "delete holidays '!i2026' --typed-key")
def delete(  # noqa: PLR0913  # its options
    context: typer.Context,
    name: Name,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="One key or more.", show_default=False)],
    *,
    typed_key: TypedKey = False,
    encrypted: Encrypted = False,
    blinded: Blinded = False,
    as_json: Json = False,
) -> None:
    """Remove entries. Every process that uses the cache sees it at its next read.

    Exit code 1: some of the keys were not there; the others are removed.
    """
    from openalgo_cache.cli import records  # noqa: PLC0415  # heavy; --help does without

    target = records.Target(env_file=context.obj, name=name, as_json=as_json, encrypted=encrypted, blinded=blinded)
    raise typer.Exit(records.delete(target, keys, typed=typed_key))


@command(app, "list", Keys, "list settings", "list quotes --prefix NIFTY --limit 20")
def list_keys(  # noqa: PLR0913  # its options
    context: typer.Context,
    name: Name,
    *,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Only text keys that begin with it.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="The most keys to list; 0 for all.")] = 100,
    encrypted: Encrypted = False,
    blinded: Blinded = False,
    as_json: Json = False,
) -> None:
    """List the keys of a cache, one a line, in no particular order.

    A cache with blinded keys holds keyed hashes in their place, which nobody can turn back: auth, feed_token, broker,
    api_keys_verified and strategy_webhook cannot be listed. Exit code 1: there are no such keys.
    """
    from openalgo_cache.cli import records  # noqa: PLC0415  # heavy; --help does without

    target = records.Target(env_file=context.obj, name=name, as_json=as_json, encrypted=encrypted, blinded=blinded)
    raise typer.Exit(records.list_keys(target, prefix=prefix, limit=limit))


@command(app, "clear", Cleared, "clear quotes", "clear auth --yes", "clear strategy_configs --state --yes")
def clear(  # noqa: PLR0913  # its options
    context: typer.Context,
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    state: Annotated[
        bool, typer.Option("--state", help="Also if the cache is the only copy of what it holds.")
    ] = False,
    encrypted: Encrypted = False,
    blinded: Blinded = False,
    as_json: Json = False,
) -> None:
    """Remove every entry of a cache, after asking. Other caches are not touched.

    Exit code 1: the question was answered with no, or not at all.
    """
    from openalgo_cache.cli import records  # noqa: PLC0415  # heavy; --help does without

    target = records.Target(env_file=context.obj, name=name, as_json=as_json, encrypted=encrypted, blinded=blinded)
    raise typer.Exit(records.clear(target, confirmed=yes, state=state))

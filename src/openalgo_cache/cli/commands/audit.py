"""``openalgo-cache audit``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json, TypedKey, cache_name
from openalgo_cache.cli.shapes.audit import AuditLines, AuditVerified

audit = typer.Typer(
    no_args_is_help=True,
    help="Look into the audit log, and verify it.",
    epilog="These commands only read. What is in the log, and what it proves, is in docs/audit.md.",
    rich_markup_mode=None,
)
app.add_typer(audit, name="audit")

_When = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="A day or a moment in UTC, such as 2026-11-24 or 2026-11-24T09:15, or how long ago: 90s, 15m, 2h, 7d.",
        show_default=False,
    ),
]


@command(audit, "audit verify", AuditVerified, "audit verify", "audit verify --json")
def verify(context: typer.Context, *, as_json: Json = False) -> None:
    """Say whether every line is as it was written, and none is missing; if not, where.

    Exit code 1: something was edited, deleted, moved, inserted, cut off or made up. Notes alone, such as a process that
    was killed, are no reason for that.
    """
    from openalgo_cache.cli import auditing  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(auditing.verify(context.obj, as_json=as_json))


@command(audit, "audit tail", AuditLines, "audit tail", "audit tail -n 100", "audit tail -f", "audit tail -f --json")
def tail(
    context: typer.Context,
    *,
    number: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many lines.")] = 20,
    follow: Annotated[
        bool,
        typer.Option("-f", "--follow", help="Go on with what is logged from now on, until Ctrl-C."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the last lines.

    With --follow and --json each line is an object of its own, in a line.
    """
    from openalgo_cache.cli import auditing  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(auditing.tail(context.obj, number, follow=follow, as_json=as_json))


@command(
    audit,
    "audit search",
    AuditLines,
    "audit search --denied --since 7d",
    "audit search --cache auth --key user_123",
    "audit search --caller 'plugins.*' --operation GET --since 2026-11-24 --until 2026-11-25",
)
def search(  # noqa: PLR0913  # its options
    context: typer.Context,
    *,
    name: Annotated[
        str | None,
        typer.Option("--cache", metavar="NAME", help="Of this cache.", callback=cache_name, show_default=False),
    ] = None,
    operation: Annotated[
        str | None,
        typer.Option("--operation", metavar="WORD", help="Of this kind, such as GET or CLEAR.", show_default=False),
    ] = None,
    caller: Annotated[
        str | None,
        typer.Option(
            "--caller", metavar="PATTERN", help="Of modules like this, such as 'services.*'.", show_default=False
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Of this key, as the application uses it; it is blinded for the search where the cache blinds it.",
            show_default=False,
        ),
    ] = None,
    typed_key: TypedKey = False,
    since: _When = None,
    until: _When = None,
    denied: Annotated[bool, typer.Option("--denied", help="Only accesses that were refused.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="The last N at most; 0 for all.")] = 1000,
    as_json: Json = False,
) -> None:
    """Find lines by cache, operation, caller, key and time; all that is said must hold.

    Exit code 1: nothing was found.
    """
    from openalgo_cache.cli import auditing  # noqa: PLC0415  # heavy; --help does without

    wanted = auditing.Wanted(name, operation, caller, key, typed_key, since, until, denied, limit)
    raise typer.Exit(auditing.search(context.obj, wanted, as_json=as_json))

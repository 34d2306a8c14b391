"""``openalgo-cache symbols``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json
from openalgo_cache.cli.shapes.symbols import Generated, Imported, MasterStatus, Searched, Shown

_STDIN = Path("-")


def _there(file: Path) -> Path:
    if file != _STDIN and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    return file


symbols = typer.Typer(
    no_args_is_help=True,
    help="Import the symbol master and look into it.",
    epilog="The master contract is a CSV file with the columns symbol, brsymbol, name, exchange, brexchange, token, "
    "expiry, strike, lotsize, instrumenttype, tick_size, contract_value.",
    rich_markup_mode=None,
)
app.add_typer(symbols, name="symbols")


@command(
    symbols,
    "symbols import",
    Imported,
    "symbols import master.csv",
    "symbols import master.csv.gz --skip-bad",
)
def import_file(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The master contract: CSV, also packed as .gz; - reads standard input.",
            callback=_there,
            show_default=False,
        ),
    ],
    *,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows out. Without it, one bad row keeps the old master.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Replace the symbol master by a file, or not at all.

    Bad rows are reported by number, the header's being 1. Whatever goes wrong, the old master stays in use. Where
    instances share a server, the new one is then published to them. Exit code 6: rows are bad.
    """
    from openalgo_cache.cli import instruments  # noqa: PLC0415  # heavy; --help does without

    instruments.import_file(context.obj, file, skip_bad=skip_bad, as_json=as_json)


@command(
    symbols,
    "symbols search",
    Searched,
    "symbols search NIFTY 24000",
    "symbols search reliance --exchange NSE",
)
def search(
    context: typer.Context,
    terms: Annotated[
        list[str], typer.Argument(metavar="TERMS...", help="Words; all of them must be found.", show_default=False)
    ],
    *,
    exchange: Annotated[
        str | None, typer.Option("--exchange", "-e", metavar="NAME", help="Only this exchange.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="The most to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Find instruments, the best first.

    A term is found in symbols and names, or is a strike or a token. Exit code 1: nothing was found.
    """
    from openalgo_cache.cli import instruments  # noqa: PLC0415  # heavy; --help does without

    where = None if exchange is None else exchange.upper()
    raise typer.Exit(instruments.search(context.obj, " ".join(terms), where, limit, as_json=as_json))


@command(symbols, "symbols show", Shown, "symbols show RELIANCE NSE", "symbols show NIFTY28MAR2420800CE NFO --json")
def show(
    context: typer.Context,
    symbol: Annotated[
        str, typer.Argument(metavar="SYMBOL", help="OpenAlgo's symbol, as it is spelt.", show_default=False)
    ],
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", help="Such as NSE.", show_default=False)],
    *,
    as_json: Json = False,
) -> None:
    """Show all that the master knows of an instrument.

    Exit code 1: there is no such instrument.
    """
    from openalgo_cache.cli import instruments  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(instruments.show_one(context.obj, symbol, exchange.upper(), as_json=as_json))


@command(symbols, "symbols status", MasterStatus, "symbols status", "symbols status --json")
def status(context: typer.Context, *, as_json: Json = False) -> None:
    """Show which symbol master is served here, and which one the instances that share a server have.

    Exit code 1: the two differ; the application brings them together, or 'symbols sync'.
    """
    from openalgo_cache.cli import masters  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(masters.status(context.obj, as_json=as_json))


@command(symbols, "symbols sync", MasterStatus, "symbols sync")
def sync(context: typer.Context, *, as_json: Json = False) -> None:
    """Fetch the symbol master that another instance published, or publish the one that others lack.

    An application that runs does that by itself.
    """
    from openalgo_cache.cli import masters  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(masters.sync(context.obj, as_json=as_json))


@command(
    symbols,
    "symbols generate",
    Generated,
    "symbols generate master.csv",
    "symbols generate small.csv --rows 1000 --seed 7",
)
def generate(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The CSV file to write.", dir_okay=False, show_default=False),
    ],
    *,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many instruments.")] = 142_338,
    seed: Annotated[
        int, typer.Option("--seed", metavar="S", help="Another seed makes other names, tokens and lots.")
    ] = 20240301,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a made-up master contract.

    The same seed makes the same file on every machine.
    """
    from openalgo_cache.cli import instruments  # noqa: PLC0415  # heavy; --help does without

    instruments.generate(file, rows, seed, force=force, as_json=as_json)

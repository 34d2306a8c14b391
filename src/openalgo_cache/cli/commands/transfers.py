"""``openalgo-cache copy``, ``export`` and ``import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Caches, Json, KeepExisting, Overwrite, SkipUnreadable
from openalgo_cache.cli.shapes.transfers import Copied, Exported, Restored

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The file.", dir_okay=False, show_default=False)]


@command(
    app,
    "copy",
    Copied,
    "copy --from sqlite --to redis --dry-run",
    "copy --from sqlite --to redis",
    "copy --from redis --to sqlite --cache settings --cache running_strategies",
)
def copy(  # noqa: PLR0913  # its options
    context: typer.Context,
    *,
    source: Annotated[
        str,
        typer.Option("--from", metavar="BACKEND", help="Where entries are, such as sqlite.", show_default=False),
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="BACKEND", help="Where they go, such as redis.", show_default=False)
    ],
    caches: Caches = None,
    overwrite: Overwrite = False,
    keep_existing: KeepExisting = False,
    skip_unreadable: SkipUnreadable = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Copy caches from one backend to another, with lifetimes and tags, sealed anew and read back.

    Without --cache: all caches of the catalogue that other processes can reach, and whatever else has a SQLite file.
    What is there and equal is not written again, and what is there and was written later stays, so an interrupted copy
    is finished by the same command. Nothing is deleted, and the backend in use stays what it is: see use. Exit code 6:
    something was not copied.
    """
    from openalgo_cache.cli import transfers  # noqa: PLC0415  # heavy; --help does without

    how = transfers.How(context.obj, caches, overwrite, keep_existing, skip_unreadable, dry_run, as_json)
    raise typer.Exit(transfers.copy(how, source, target))


@command(
    app,
    "export",
    Exported,
    "export caches.oac",
    "export caches.oac --include-state",
    "export settings.oac --cache settings",
)
def export(  # noqa: PLR0913  # its options
    context: typer.Context,
    file: _File,
    *,
    caches: Caches = None,
    include_state: Annotated[
        bool, typer.Option("--include-state", help="Also the caches that are the only copy of what they hold.")
    ] = False,
    skip_unreadable: SkipUnreadable = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write caches to a file that the holder of the key ring can read, and nobody can change unnoticed.

    Without --cache: as for copy, but of the state caches none; one that is named is exported in any case. The file
    appears when it is complete. Without the key ring it is worth nothing: keep a copy of that, too, elsewhere. Exit
    code 6: something could not be verified.
    """
    from openalgo_cache.cli import transfers  # noqa: PLC0415  # heavy; --help does without

    how = transfers.How(context.obj, caches, skip_unreadable=skip_unreadable, as_json=as_json)
    raise typer.Exit(transfers.export(how, file, include_state=include_state, force=force))


@command(app, "import", Restored, "import caches.oac --dry-run", "import caches.oac", "import all.oac --cache settings")
def import_file(  # noqa: PLR0913  # its options
    context: typer.Context,
    file: _File,
    *,
    caches: Caches = None,
    overwrite: Overwrite = False,
    keep_existing: KeepExisting = False,
    skip_unreadable: SkipUnreadable = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify the file and say what is in it.")] = False,
    as_json: Json = False,
) -> None:
    """Bring what export wrote into the caches of the backend in use.

    The whole file is verified first; one that was changed, cut off or added to is refused, exit code 6. It takes the
    key ring it was made with: exit code 3. An interrupted import is finished by the same command.
    """
    from openalgo_cache.cli import transfers  # noqa: PLC0415  # heavy; --help does without

    how = transfers.How(context.obj, caches, overwrite, keep_existing, skip_unreadable, dry_run, as_json)
    raise typer.Exit(transfers.import_file(how, file))

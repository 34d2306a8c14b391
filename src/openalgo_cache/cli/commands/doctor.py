"""``openalgo-cache doctor``."""

from __future__ import annotations

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json
from openalgo_cache.cli.shapes.doctor import Diagnosis


@command(app, "doctor", Diagnosis, "doctor", "doctor --json")
def doctor(context: typer.Context, *, as_json: Json = False) -> None:
    """Look for what is wrong, and say what to do about it. Nothing is changed.

    Looked at are: settings, backend, key ring, clock, folder, owners and modes of the files, file system, disk space,
    SQLite's version, the soundness of every cache file, copies of damaged ones, the backups of state, the symbol
    master, and the Redis or Valkey server, as far as we may ask. Exit code 5: there are errors; warnings alone are no
    error.
    """
    from openalgo_cache.cli import diagnosis  # noqa: PLC0415  # heavy; --help does without

    raise typer.Exit(diagnosis.doctor(context.obj, as_json=as_json))

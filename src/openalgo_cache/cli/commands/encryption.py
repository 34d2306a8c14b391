"""``openalgo-cache encrypt-files``."""

from __future__ import annotations

from typing import Annotated

import typer

from openalgo_cache.cli.app import app, command
from openalgo_cache.cli.options import Json
from openalgo_cache.cli.shapes.encryption import Encrypted


@command(app, "encrypt-files", Encrypted, "encrypt-files", "encrypt-files --decrypt")
def encrypt_files(
    context: typer.Context,
    *,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="The other way: from encrypted files to plain ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Encrypt the SQLite files of the caches as a whole, for SQLITE_FILE_ENCRYPTION=true.

    While the application is stopped. Each file is copied, the copy read back and compared, and put in its place in one
    step; a command that was interrupted is finished by the same command. The symbol master stays as it is: it is
    public, and signed. What the old files held may stay in blocks of the disk that are free now until they are
    overwritten. Exit code 4: a file is in use or damaged; nothing is lost.
    """
    from openalgo_cache.cli import encrypting  # noqa: PLC0415  # heavy; --help does without

    encrypting.encrypt_files(context.obj, decrypt=decrypt, as_json=as_json)

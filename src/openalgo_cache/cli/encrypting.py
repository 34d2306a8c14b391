"""What ``encrypt-files`` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from openalgo_cache.backends.sqlite.backup import backups_of
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher, key_of
from openalgo_cache.backends.sqlite.recency import recency_file
from openalgo_cache.backends.sqlite.recrypting import ENTRIES, READS, recrypt
from openalgo_cache.cli.output import Pen, count, show
from openalgo_cache.cli.progress import bar
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.encryption import Encrypted, Rewritten
from openalgo_cache.keys import OF_LOCKS

if TYPE_CHECKING:
    from pathlib import Path


def encrypt_files(env_file: Path | None, *, decrypt: bool, as_json: bool) -> None:
    """Encrypt the files of all caches, or decrypt them.

    Args:
        env_file: Where the settings are read from.
        decrypt: The other way.
        as_json: Whether to print JSON.

    Raises:
        KeyRingError: There is no key ring.
        BackendUnavailableError: A file is in use or damaged.
        BackendMisconfiguredError: SQLite cannot encrypt here, or a file is encrypted with another key.
    """
    with Session(env_file, as_json=as_json) as session, bar(as_json=as_json) as tell:
        session.refuse_without_ring("files can be neither encrypted nor decrypted")
        report = Encrypted(
            encrypted=not decrypt,
            files=[],
            damaged_copies=[str(path) for path in sorted(session.folder.glob("*.damaged-*.db"))],
            setting=session.settings.sqlite_file_encryption,
        )
        names = [name + part for part in ("", OF_LOCKS) for name in session.caches_on_disk(part)]

        def told(number: int, path: Path, done: float) -> None:
            tell(path.name, (number + done) / len(names))

        for number, name in enumerate(names):
            report["files"] += _of_cache(session, name, partial(told, number), decrypt=decrypt)
    show(report, lambda pen: _draw(pen, report), as_json=as_json)


def _of_cache(session: Session, name: str, tell: Callable[[Path, float], None], *, decrypt: bool) -> list[Rewritten]:
    cipher = Cipher(key_of(name, lambda purpose: session.manager.ring().subkey(purpose, b"")))
    before, after = (cipher, PLAIN) if decrypt else (PLAIN, cipher)
    path = session.cache_file(name)
    files = []
    for paths, table in (([path, *backups_of(path)], ENTRIES), ([recency_file(path)], READS)):
        if paths[0].exists():
            rows = recrypt(paths, table, before, after, tell)
            files += [Rewritten(file=str(one), rows=found) for one, found in zip(paths, rows, strict=True)]
    return files


def _draw(pen: Pen, report: Encrypted) -> None:
    done = "encrypted" if report["encrypted"] else "decrypted"
    changed = [one for one in report["files"] if one["rows"] is not None]
    pen.line(f"{count(len(changed), 'file')} {done}, {len(report['files']) - len(changed)} were so already.")
    if report["encrypted"] != report["setting"]:
        value = str(report["encrypted"]).lower()
        pen.line(
            f"Set SQLITE_FILE_ENCRYPTION={value} before the application starts; it refuses the files else.", "yellow"
        )
    if report["damaged_copies"]:
        pen.line(
            "Copies of damaged files stay as they are; delete them: " + ", ".join(report["damaged_copies"]), "yellow"
        )

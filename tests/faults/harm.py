"""Ways to damage a file of SQLite's, as disks, editors, restored backups and accidents do."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite.schema import PAGE_SIZE
from openalgo_cache.cache import Cache
from openalgo_cache.settings import Settings
from tests.databases import connect

Harm = Callable[[Path, random.Random], None]


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def overwrite(path: Path, at: int, content: bytes) -> None:
    """Put bytes in the place of others, without SQLite's knowledge."""
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(content)


def flip_bits(path: Path, chance: random.Random) -> None:
    """Flip up to eight bits."""
    size = path.stat().st_size
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(size)
        with path.open("rb") as file:
            file.seek(at)
            (byte,) = file.read(1)
        overwrite(path, at, bytes([byte ^ 1 << chance.randrange(8)]))


def garble(path: Path, chance: random.Random) -> None:
    """Put noise in the place of a stretch."""
    size = path.stat().st_size
    at = chance.randrange(size)
    overwrite(path, at, chance.randbytes(min(chance.randint(1, 5000), size - at)))


def clear_a_page(path: Path, chance: random.Random) -> None:
    """Fill a page with zeros, as a disk does that forgot to write it."""
    overwrite(path, chance.randrange(max(path.stat().st_size // PAGE_SIZE, 1)) * PAGE_SIZE, bytes(PAGE_SIZE))


def swap_pages(path: Path, chance: random.Random) -> None:
    """Put a page in the place of another."""
    pages = max(path.stat().st_size // PAGE_SIZE, 1)
    with path.open("rb") as file:
        file.seek(chance.randrange(pages) * PAGE_SIZE)
        page = file.read(PAGE_SIZE)
    overwrite(path, chance.randrange(pages) * PAGE_SIZE, page)


def cut_off(path: Path, chance: random.Random) -> None:
    """Cut the file off somewhere."""
    os.truncate(path, chance.randrange(path.stat().st_size))


def harm_the_log(harm: Harm) -> Harm:
    """Return a way that damages the log in the way of another."""

    def do(path: Path, chance: random.Random) -> None:
        if log_of(path).exists() and log_of(path).stat().st_size > 0:
            harm(log_of(path), chance)

    do.__name__ = f"{harm.__name__}_of_the_log"
    return do


def clear_the_header(path: Path, _: random.Random) -> None:
    """Fill the header with zeros."""
    overwrite(path, 0, bytes(100))


def put_a_text_in_its_place(path: Path, chance: random.Random) -> None:
    """Make it a text file."""
    os.truncate(path, 0)
    overwrite(path, 0, b"This is no database.\n" * chance.randint(1, 500))


def put_another_database_in_its_place(path: Path, chance: random.Random) -> None:
    """Make it somebody else's database, of another page size perhaps, with a table of our name perhaps."""
    other = path.with_name("other.sqlite")
    other.unlink(missing_ok=True)
    connection = apsw.Connection(str(other))
    connection.pragma("page_size", chance.choice([1024, 4096, 16384]))
    connection.execute(chance.choice(["CREATE TABLE cache (a)", "CREATE TABLE users (name)"]))
    connection.close()
    content = other.read_bytes()
    other.unlink()
    os.truncate(path, 0)
    overwrite(path, 0, content)


def empty(path: Path, _: random.Random) -> None:
    """Truncate it to nothing."""
    os.truncate(path, 0)


SUBTLE_IN_THE_LOG: Final[list[Harm]] = [harm_the_log(harm) for harm in (flip_bits, garble)]
"""Noticed when the log is read anew, and not by those who have it open."""

SUBTLE: Final[list[Harm]] = [flip_bits, garble, swap_pages, *SUBTLE_IN_THE_LOG]
"""May go unnoticed by SQLite: what is promised is that no wrong value comes of it."""

GROSS: Final[list[Harm]] = [
    clear_a_page,
    cut_off,
    clear_the_header,
    put_a_text_in_its_place,
    put_another_database_in_its_place,
    empty,
]
"""Loses what is there."""

OF_THE_LOG: Final[list[Harm]] = [harm_the_log(harm) for harm in (clear_a_page, cut_off, empty)]
ALL: Final = [*SUBTLE, *GROSS, *OF_THE_LOG]


def names_of(harms: list[Harm]) -> list[str]:
    """Return what the ways are called."""
    return [harm.__name__ for harm in harms]


def settings_in(folder: Path) -> Settings:
    """Return settings that keep everything in a folder of its own, and nothing near that would hide the damage."""
    return Settings(cache_backend="sqlite", sqlite_cache_path=folder / "db" / "cache", cache_near_enabled=False)


def value(key: str, generation: int) -> dict[str, object]:
    """Return what is written under a key: whoever reads it can tell whether it belongs there."""
    return {"key": key, "generation": generation, "padding": f"{key}-{generation}-" * 8}


def fill(cache: Cache, keys: int = 300, rewritten: int = 300) -> None:
    """Write every key, and some of them again and again, so that database, log and free pages have versions of them."""
    cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(keys)})
    with closing(connect(database_of(cache))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for generation in (1, 2):
        cache.set_many({f"key{number}": value(f"key{number}", generation) for number in range(rewritten)})


def database_of(cache: Cache) -> Path:
    """Return the file of a cache on SQLite."""
    path = cache.backend.path  # type: ignore[attr-defined]  # SQLite's
    assert isinstance(path, Path)
    return path


def check(key: str, found: object, generations: int = 3) -> None:
    """Fail if a value was never written under its key."""
    assert found is None or found in [value(key, generation) for generation in range(generations)], (key, found)

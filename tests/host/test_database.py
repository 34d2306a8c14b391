"""The host's database: its versions, where it may be, and what is said about one that cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from openalgo_cache import Settings
from openalgo_host import migrations
from openalgo_host.administrator import ensure_administrator
from openalgo_host.application import create_app
from openalgo_host.database import FILE_NAME, Base, Database, url_of
from openalgo_host.errors import StartError
from openalgo_host.host import Host
from tests.host.conftest import Hands
from tests.servers.postgres import PostgresProcess
from tests.servers.process import HOST, free_port


def test_the_newest_version_is_the_one_that_is_asked_for() -> None:
    """A file that was added without raising HEAD would never be run."""
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [migrations.HEAD]


def test_the_versions_make_what_the_classes_say(address: str, tmp_path: Path) -> None:
    """What the files build up is what the code expects, on every kind of database."""
    url = url_of(address, tmp_path)
    database = Database(url)
    database.create()
    database.create()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert migrations.version_of(connection) == migrations.HEAD
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
    database.close()


def test_a_database_that_a_newer_host_has_changed(address: str, tmp_path: Path) -> None:
    """An older one, which restarts while instances are exchanged one by one, leaves it alone and says why."""
    url = url_of(address, tmp_path)
    engine = create_engine(url)
    with closing(Database(url)) as database:
        database.create()
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StartError, match=rf"newer openalgo-host.*9999.*up to {migrations.HEAD}"):
            database.create()
        with engine.connect() as connection:
            assert migrations.version_of(connection) == "9999"
    engine.dispose()


def test_a_start_that_takes_its_time(
    postgres: PostgresProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine: the server does not take the one that makes the tables for one that fell silent."""
    monkeypatch.setattr("openalgo_host.database._LONGEST_SILENCE", 0.05)
    url, look = url_of(postgres.new_database(), tmp_path), migrations.version_of
    engine = create_engine(url)

    def slow(connection: Connection) -> str | None:
        with engine.connect() as other:
            other.execute(text("SELECT pg_sleep(0.3)"))
        return look(connection)

    monkeypatch.setattr(migrations, "version_of", slow)
    database = Database(url)
    database.create()
    database.check()
    database.close()
    engine.dispose()


def test_a_database_from_before_there_were_versions(tmp_path: Path) -> None:
    """Its users and keys stay, and it gets what is new."""
    path = tmp_path / FILE_NAME
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            """
            CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE,
                                password_hash VARCHAR NOT NULL, created_at FLOAT NOT NULL);
            CREATE TABLE api_keys (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id),
                                   digest VARCHAR NOT NULL UNIQUE, created_at FLOAT NOT NULL);
            CREATE INDEX ix_api_keys_user_id ON api_keys (user_id);
            INSERT INTO users VALUES (1, 'admin', 'hash', 0.0);
            """
        )
    database = Database(url_of("", tmp_path))
    database.create()
    database.check()
    database.close()
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("SELECT name FROM users").fetchall() == [("admin",)]
        assert now.execute("SELECT count(*) FROM leases").fetchone() == (0,)


def test_a_host_on_postgresql(settings: Settings, hands: Hands, postgres: PostgresProcess) -> None:
    """It starts, makes its administrator once, and is healthy; a second instance finds the same users."""
    address = postgres.new_database()
    shown: list[str] = []
    first = Host.open(settings, hands, address)
    assert ensure_administrator(first, shown.append)
    second = Host.open(settings, hands, address)
    assert not ensure_administrator(second, shown.append)
    key = shown[0].rpartition(" ")[2]
    assert second.api_keys.caller(key) == first.api_keys.caller(key) == (1, None)
    assert create_app(second).test_client().get("/readyz").status_code == 200
    first.close()
    second.close()


@pytest.mark.parametrize(
    "given",
    [
        "secret-password",
        "postgresql//user:secret-password@host/name",
        "mysql://user:secret-password@host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "://secret-password",
        "postgresql://user:secret-password@host:port/name",
    ],
)
def test_an_address_of_no_database(given: str, tmp_path: Path) -> None:
    """The message names the variable and the fix, and shows no password."""
    with pytest.raises(StartError, match="DATABASE_URL") as refusal:
        url_of(given, tmp_path)
    assert "secret-password" not in str(refusal.value)
    assert "postgresql://user:password@host:5432/name" in str(refusal.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """The message names the variable, and shows no password."""
    database = Database(url_of(f"postgresql://user:secret-password@{HOST}:{free_port()}/name", tmp_path))
    with pytest.raises(StartError, match="DATABASE_URL") as refusal:
        database.create()
    assert "secret-password" not in str(refusal.value)
    database.close()

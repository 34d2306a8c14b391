"""The choice of the backend: its order, its record, and what the probe makes of what listens at an address."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import logging
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from openalgo_cache.errors import BackendMisconfiguredError, ConfigurationError
from openalgo_cache.selection import (
    RECORD_NAME,
    Choice,
    auto_detect_backend,
    choice,
    choose_backend,
    is_redis_available,
    probe,
    record_choice,
)
from openalgo_cache.selection.probe import Outcome, Probe, probe_server
from openalgo_cache.settings import Settings, override
from openalgo_cache.settings.server import Server

ABSENT = Probe(Outcome.ABSENT, "does not answer (connection refused)")
ANSWERS = Probe(Outcome.ANSWERS, "answers")
ASKS = Probe(Outcome.ASKS_FOR_PASSWORD, "asks for a password, and REDIS_PASSWORD is not set")
REFUSES = Probe(Outcome.REFUSES, "does not accept REDIS_PASSWORD and REDIS_USERNAME, or those parts of REDIS_URL")
OTHER = Probe(Outcome.NOT_REDIS, "is not a Redis")


@dataclass
class World:
    """What the probe finds and which backends there are; tests change both."""

    probe: Probe = ABSENT
    available: frozenset[str] = frozenset({"memory", "sqlite"})
    probed: int = 0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Decide what is found, so that the order of the questions can be tested without a server."""
    world = World()

    def found(server: Server) -> Probe:
        world.probed += 1
        return world.probe

    monkeypatch.setattr(probe, "probe_server", found)
    monkeypatch.setattr(choice, "available_backends", lambda: world.available)
    return world


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that leave the choice open."""
    return Settings(sqlite_cache_path=tmp_path / "db" / "cache")


def recorded(folder: Path) -> str:
    """Return the backend that is recorded in ``folder``."""
    record = json.loads((folder / RECORD_NAME).read_bytes())
    assert record.keys() == {"format", "backend"}
    return str(record["backend"])


# The order of the questions


def test_cache_backend_comes_first(world: World, settings: Settings, tmp_path: Path) -> None:
    """A named backend is taken without a look around, over any record, and is not recorded."""
    record_choice(tmp_path, "sqlite")
    named = Settings(cache_backend="memory", cache_auto_configure=False)
    found = choose_backend(named, tmp_path)
    assert (found.backend, found.source) == ("memory", "CACHE_BACKEND")
    assert recorded(tmp_path) == "sqlite"
    assert world.probed == 0


def test_a_named_backend_that_is_not_there_is_an_error(world: World, tmp_path: Path) -> None:
    """It says so, names what there is and the fix, and chooses nothing else."""
    with pytest.raises(ConfigurationError, match="client library is not installed") as caught:
        choose_backend(Settings(cache_backend="redis"), tmp_path)
    assert "CACHE_BACKEND=redis" in str(caught.value)
    assert "openalgo-cache[redis]" in str(caught.value)
    with pytest.raises(ConfigurationError, match="there are memory, sqlite"):
        choose_backend(Settings(cache_backend="etcd"), tmp_path)
    assert not (tmp_path / RECORD_NAME).exists()


def test_a_backend_of_another_package_can_be_named(world: World, tmp_path: Path) -> None:
    """What the registry offers is as good as what is built in."""
    world.available |= {"etcd"}
    assert choose_backend(Settings(cache_backend="etcd"), tmp_path).backend == "etcd"


@pytest.mark.parametrize("variables, backend", [({}, "redis"), ({"valkey_host": "localhost"}, "valkey")])
def test_several_instances_take_the_shared_backend(
    world: World, tmp_path: Path, variables: dict[str, str], backend: str
) -> None:
    """Neither record nor probe matters: anything local would be wrong."""
    record_choice(tmp_path, "sqlite")
    shared = Settings(multi_instance_mode=True, instance_id="i-1", **variables)  # type: ignore[arg-type]  # texts alone
    with pytest.raises(ConfigurationError, match=f"MULTI_INSTANCE_MODE=true needs {backend.title()}"):
        choose_backend(shared, tmp_path)
    world.available |= {"redis", "valkey"}
    found = choose_backend(shared, tmp_path)
    assert (found.backend, found.source) == (backend, "MULTI_INSTANCE_MODE")
    assert (recorded(tmp_path), world.probed) == ("sqlite", 0)


def test_without_automatic_choice_it_is_sqlite(world: World, tmp_path: Path) -> None:
    """No server is looked for, and nothing is recorded."""
    found = choose_backend(Settings(cache_auto_configure=False), tmp_path)
    assert (found.backend, found.source) == ("sqlite", "CACHE_AUTO_CONFIGURE")
    assert world.probed == 0
    assert not (tmp_path / RECORD_NAME).exists()


def test_the_first_automatic_choice_stays(world: World, settings: Settings) -> None:
    """A Redis that appears tomorrow does not hide what SQLite holds today."""
    folder = settings.cache_folder
    first = choose_backend(settings, folder)
    assert (first.backend, first.source) == ("sqlite", "automatic")
    world.probe, world.available = ANSWERS, world.available | {"redis"}
    second = choose_backend(settings, folder)
    assert (second.backend, second.source) == ("sqlite", "recorded")
    assert world.probed == 1


def test_a_server_that_answers_is_taken_where_its_backend_exists(world: World, settings: Settings) -> None:
    """And recorded: a server that is down tomorrow is not replaced by empty files."""
    world.probe, world.available = ANSWERS, world.available | {"redis"}
    assert choose_backend(settings, settings.cache_folder).backend == "redis"
    world.probe = ABSENT
    assert choose_backend(settings, settings.cache_folder).backend == "redis"
    assert recorded(settings.cache_folder) == "redis"


def test_a_recorded_backend_that_is_gone_is_an_error(world: World, settings: Settings) -> None:
    """Starting empty would look like a loss of all state."""
    record_choice(settings.cache_folder, "redis")
    with pytest.raises(ConfigurationError, match="openalgo-cache use"):
        choose_backend(settings, settings.cache_folder)
    assert recorded(settings.cache_folder) == "redis"


def test_a_server_whose_backend_is_missing_is_named_in_the_log(
    world: World, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The user learns that it was seen, and that SQLite is used and recorded."""
    world.probe = ANSWERS
    with caplog.at_level(logging.INFO, logger="openalgo_cache"):
        found = choose_backend(settings, settings.cache_folder)
    install = 'pip install "openalgo-cache[redis]"'
    text = f"Redis answers at localhost:6379, but its client library is not installed ({install}): using SQLite"
    assert found == Choice("sqlite", text, "automatic")
    assert [record.getMessage() for record in caplog.records] == [f"Cache backend: sqlite ({text})"]
    assert recorded(settings.cache_folder) == "sqlite"


@pytest.mark.parametrize(
    "settings_of, level",
    [(lambda path: Settings(), logging.INFO), (lambda path: Settings(redis_port=6380), logging.WARNING)],
    ids=["nobody's", "configured"],
)
@pytest.mark.parametrize("found", [ABSENT, OTHER])
def test_one_line_says_what_was_chosen_and_why(
    world: World,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    settings_of: Callable[[Path], Settings],
    level: int,
    found: Probe,
) -> None:
    """Passing over a server that somebody configured is a warning."""
    world.probe = found
    with caplog.at_level(logging.INFO, logger="openalgo_cache"):
        chosen = choose_backend(settings_of(tmp_path), tmp_path)
    assert chosen.backend == "sqlite"
    assert [(record.levelno, chosen.why in record.getMessage()) for record in caplog.records] == [(level, True)]


@pytest.mark.parametrize("found", [ASKS, REFUSES])
def test_a_server_of_somebody_else_is_left_alone(world: World, settings: Settings, found: Probe) -> None:
    """A server on this machine that nobody configured and that asks for a password, or refuses us, is not ours."""
    world.probe = found
    chosen = choose_backend(settings, settings.cache_folder)
    assert chosen.backend == "sqlite"
    assert "not ours" in chosen.why
    assert not is_redis_available(settings)


@pytest.mark.parametrize("found", [ASKS, REFUSES])
def test_a_configured_server_that_refuses_us_is_an_error(world: World, tmp_path: Path, found: Probe) -> None:
    """It names the variable; and nothing is recorded, so that the corrected start chooses anew."""
    world.probe = found
    with pytest.raises(BackendMisconfiguredError, match="REDIS_PASSWORD") as caught:
        choose_backend(Settings(redis_port=6380, redis_password="hunter2"), tmp_path)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / RECORD_NAME).exists()


def test_the_process_settings_lead_to_a_backend(world: World, settings: Settings) -> None:
    """``auto_detect_backend`` is the proposal's short form."""
    with override(settings):
        assert auto_detect_backend() == "sqlite"
        assert not is_redis_available()
    assert recorded(settings.cache_folder) == "sqlite"


def test_sqlite_stands_in_for_a_configured_server_that_is_away(world: World, tmp_path: Path) -> None:
    """Until the next start, so it is not recorded; and what must not be lost waits for the server."""
    world.available |= {"redis"}
    configured = Settings(redis_port=6380)
    found = choose_backend(configured, tmp_path)
    assert (found.backend, found.meant, found.source) == ("sqlite", "redis", "automatic")
    world.probe = ANSWERS
    assert choose_backend(configured, tmp_path).backend == recorded(tmp_path) == "redis"


# The record


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_the_record_and_its_folder_are_private(world: World, settings: Settings) -> None:
    """Whoever could write the record could send us to another store."""
    choose_backend(settings, settings.cache_folder)
    assert stat.S_IMODE((settings.cache_folder / RECORD_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.cache_folder.stat().st_mode) == 0o700


def test_the_record_can_be_changed(world: World, settings: Settings) -> None:
    """``openalgo-cache use`` does it; the next start follows."""
    choose_backend(settings, settings.cache_folder)
    record_choice(settings.cache_folder, "memory")
    assert choose_backend(settings, settings.cache_folder).backend == "memory"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"sqlite",
        b"{}",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 2, "backend": "sqlite"}',
        b'{"format": 1, "backend": "../x"}',
        b'{"format": 1, "backend": 7}',
        b'{"format": 1, "backend": "sq',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_record_is_reported_and_kept(
    world: World, settings: Settings, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """It counts as none, but nothing is written over it, so the choice is made anew at every start."""
    folder = settings.cache_folder
    folder.mkdir()
    (folder / RECORD_NAME).write_bytes(content)
    for turn in (1, 2):
        found = choose_backend(settings, folder)
        assert (found.backend, found.source, world.probed) == ("sqlite", "automatic", turn)
    assert (folder / RECORD_NAME).read_bytes() == content
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "openalgo-cache use" in warnings[0]


def test_a_record_that_cannot_be_read_is_reported(world: World, settings: Settings) -> None:
    """A folder in its place is as good as any other damage."""
    (settings.cache_folder / RECORD_NAME).mkdir(parents=True)
    assert choose_backend(settings, settings.cache_folder).source == "automatic"


def test_a_folder_that_cannot_be_made_costs_the_record_alone(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The choice stands for this process; a warning says that it was not kept."""
    (tmp_path / "db").write_text("a file in the way")
    found = choose_backend(Settings(), tmp_path / "db" / "below")
    assert (found.backend, found.source) == ("sqlite", "automatic")
    assert "cannot be recorded" in caplog.text


STARTER = """
import sys
from pathlib import Path
from openalgo_cache.selection import choice, probe
from openalgo_cache.selection.probe import Outcome, Probe
from openalgo_cache.settings import Settings

there = sys.argv[2] == "there"
found = Probe(Outcome.ANSWERS if there else Outcome.ABSENT, "")
probe.probe_server = lambda server: found
choice.available_backends = lambda: frozenset({"memory", "sqlite", "redis"})
print("ready", flush=True)
sys.stdin.readline()
print(choice.choose_backend(Settings(), Path(sys.argv[1])).backend, flush=True)
"""


def test_ten_processes_that_start_at_once_choose_the_same(tmp_path: Path) -> None:
    """Even if half of them reach a Redis and half don't, one choice is recorded and all follow it."""
    folder = tmp_path / "db"
    with contextlib.ExitStack() as stack:
        starters = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", STARTER, str(folder), "there" if number % 2 else "gone"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(10)
        ]
        for starter in starters:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "ready\n"
        for starter in starters:
            assert starter.stdin is not None
            starter.stdin.write("go\n")
            starter.stdin.flush()
        chosen = {starter.stdout.readline().strip() for starter in starters if starter.stdout is not None}
    assert chosen == {recorded(folder)}
    assert [path.name for path in folder.iterdir()] == [RECORD_NAME]


# The probe, and things that are no Redis


@contextlib.contextmanager
def listener(*replies: bytes, hang: bool = False) -> Iterator[int]:
    """Listen on a port; answer each message with the next reply, then close the connection, or hang."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    for reply in replies:
                        connection.recv(4096)
                        connection.sendall(reply)
                    if hang:
                        done.wait(timeout=60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            # Wakes an accept that nobody came for.
            with contextlib.suppress(OSError):
                socket.create_connection(server.getsockname(), timeout=5).close()
            thread.join(timeout=60)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def look(port: int, **variables: object) -> Probe:
    """Probe the port on this machine."""
    values = {"redis_host": "127.0.0.1", "redis_port": port, "redis_timeout": 10, **variables}
    return probe_server(Settings(**values).server("redis"))  # type: ignore[arg-type]  # of the fields' types


@pytest.mark.parametrize(
    "reply, outcome",
    [
        (b"+PONG\r\n", Outcome.ANSWERS),
        (b"-LOADING Redis is loading the dataset in memory\r\n", Outcome.ANSWERS),
        (b"-NOPERM this user has no permissions to run the 'ping' command\r\n", Outcome.ANSWERS),
        (b"-MISCONF Errors writing to the AOF file\r\n", Outcome.ANSWERS),
        (b"-NOAUTH Authentication required.\r\n", Outcome.ASKS_FOR_PASSWORD),
        (b"-ERR operation not permitted\r\n", Outcome.ASKS_FOR_PASSWORD),
        (b"-DENIED Redis is running in protected mode because\r\n", Outcome.REFUSES),
        (b"-ERR max number of clients reached\r\n", Outcome.ABSENT),
        (b"-ERR unknown command 'PING'\r\n", Outcome.NOT_REDIS),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", Outcome.NOT_REDIS),
        (b"220 mail.example.com ESMTP\r\n", Outcome.NOT_REDIS),
        (b"ERROR\r\n", Outcome.NOT_REDIS),
        (b"\x15\x03\x01\x00\x02\x02\x28", Outcome.REFUSES),
        (b"", Outcome.REFUSES),
        (b"x" * 100_000, Outcome.NOT_REDIS),
        (b"\xff\xfe\x00\r\n", Outcome.NOT_REDIS),
    ],
)
def test_what_a_reply_means(reply: bytes, outcome: Outcome) -> None:
    """Errors of a working server are answers; anything that is not the protocol is something else."""
    with listener(reply) as port:
        assert look(port).outcome is outcome


def test_nothing_listens() -> None:
    """A refused connection is an absent server."""
    found = look(free_port())
    assert found.outcome is Outcome.ABSENT
    assert "refused" in found.detail


@pytest.mark.parametrize("replies", [(), (b"+PON",)], ids=["silent", "half a line"])
def test_a_listener_that_does_not_answer_in_time_is_absent(replies: tuple[bytes, ...]) -> None:
    """The time is that of the whole conversation."""
    with listener(*replies, hang=True) as port:
        found = look(port, redis_timeout=0.05)
    assert found == Probe(Outcome.ABSENT, "does not answer (timed out)")


def test_a_name_that_is_not_known_is_absent() -> None:
    """The resolver's error is not ours to raise."""
    found = probe_server(Settings(redis_host="nowhere.invalid", redis_timeout=1).server("redis"))
    assert found.outcome is Outcome.ABSENT


def test_a_sentinel_may_ask_for_a_password() -> None:
    """Its password is its own matter; ours is not sent to it."""
    with listener(b"-NOAUTH Authentication required.\r\n") as port:
        settings = Settings.from_environment(
            {"REDIS_SENTINELS": f"127.0.0.1:{port}", "REDIS_PASSWORD": "pw"}, dotenv=None
        )
        assert probe_server(settings.server("redis")).outcome is Outcome.ANSWERS


def test_certificates_that_cannot_be_loaded_are_refused(tmp_path: Path) -> None:
    """The variables are named; no connection is made without what was asked for."""
    (tmp_path / "ca.pem").write_text("no certificate")
    found = look(free_port(), redis_tls=True, redis_tls_ca=tmp_path / "ca.pem")
    assert found.outcome is Outcome.REFUSES
    assert "REDIS_TLS_CA" in found.detail


# The probe, and real servers

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")
server_test = pytest.mark.skipif(REDIS is None, reason="redis-server or valkey-server is not installed")
PASSWORD = "s3cret-of-the-server"


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[None]:
    """Run a server until the block ends; it begins when the server says that it is ready."""
    assert REDIS is not None
    folder.mkdir()
    command = [REDIS, "--save", "", "--appendonly", "no", "--dir", str(folder), "--bind", "127.0.0.1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "eady to accept connections" in line:
                break
        else:
            pytest.fail(f"the server did not start: {said}")
        try:
            yield
        finally:
            process.terminate()
            process.stdout.read()


@pytest.fixture(scope="module")
def guarded_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a server with a password, and a user with another."""
    port = free_port()
    folder = tmp_path_factory.mktemp("guarded")
    users = folder / "users"
    users.write_text(f"user default on >{PASSWORD} ~* +@all\nuser trader on >of-the-trader ~openalgo:* +@all -ping\n")
    with running(folder / "data", "--port", str(port), "--aclfile", str(users)):
        yield port


@server_test
@pytest.mark.server
def test_an_open_server_answers(tmp_path: Path) -> None:
    """A server without a password is found; one that is given a password for nothing says so."""
    port = free_port()
    with running(tmp_path / "data", "--port", str(port)):
        assert look(port).outcome is Outcome.ANSWERS
        assert is_redis_available(Settings(redis_host="127.0.0.1", redis_port=port))
        assert look(port, redis_password=PASSWORD).outcome is Outcome.REFUSES


@server_test
@pytest.mark.server
def test_a_password_is_asked_for(guarded_port: int) -> None:
    """Without one the server asks; with ours, or a user's, it lets us in."""
    assert look(guarded_port).outcome is Outcome.ASKS_FOR_PASSWORD
    assert look(guarded_port, redis_password=PASSWORD).outcome is Outcome.ANSWERS
    found = look(guarded_port, redis_username="trader", redis_password="of-the-trader")
    assert found.outcome is Outcome.ANSWERS


@server_test
@pytest.mark.server
def test_a_wrong_password_is_an_error_and_not_a_missing_server(
    guarded_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names REDIS_PASSWORD, and the password is nowhere."""
    wrong = Settings(redis_host="127.0.0.1", redis_port=guarded_port, redis_password="wr0ng-one")
    for attempt in (lambda: choose_backend(wrong, tmp_path), lambda: is_redis_available(wrong)):
        with pytest.raises(BackendMisconfiguredError, match="REDIS_PASSWORD") as caught:
            attempt()
        assert "wr0ng-one" not in str(caught.value) + caplog.text
    with pytest.raises(BackendMisconfiguredError, match="REDIS_PASSWORD is not set"):
        is_redis_available(Settings(redis_host="127.0.0.1", redis_port=guarded_port))


@server_test
@pytest.mark.server
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_a_unix_socket_is_asked_like_a_port(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The URL names its path; paths of sockets are short, so it lies in a folder with a short name."""
    folder = tmp_path_factory.mktemp("s")
    path = folder / "r.sock"
    with running(folder / "data", "--port", "0", "--unixsocket", str(path)):
        settings = Settings.from_environment({"REDIS_URL": f"unix://{path}"}, dotenv=None)
        assert is_redis_available(settings)
    assert not is_redis_available(settings)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority, a certificate for 127.0.0.1 and another authority that signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    ca_key, ca = signed_by_itself("authority")
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "other.pem").write_bytes(signed_by_itself("other")[1].public_bytes(serialization.Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        unsigned("server", "authority", key)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


def unsigned(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """Return a certificate for today, to be signed."""
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


def signed_by_itself(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return an authority's key and certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        unsigned(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


@server_test
@pytest.mark.server
@pytest.mark.parametrize("clients", ["no", "yes"], ids=["any client", "clients with a certificate"])
def test_tls_is_checked_on_both_sides(tmp_path: Path, certificates: Path, clients: str) -> None:
    """The right authority lets us in; a wrong one, none, or no certificate of ours where one is wanted is refused."""
    port = free_port()
    pair = {"redis_tls_cert": certificates / "server.pem", "redis_tls_key": certificates / "server.key"}
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", clients]
    options += ["--tls-cert-file", str(pair["redis_tls_cert"]), "--tls-key-file", str(pair["redis_tls_key"])]
    with running(tmp_path / "data", *options, "--tls-ca-cert-file", str(certificates / "ca.pem")):
        right = {"redis_tls": True, "redis_tls_ca": certificates / "ca.pem"}
        assert look(port, **right, **pair).outcome is Outcome.ANSWERS
        bare = look(port, **right)
        assert bare.outcome is (Outcome.ANSWERS if clients == "no" else Outcome.REFUSES)
        wrong = look(port, redis_tls=True, redis_tls_ca=certificates / "other.pem")
        assert wrong.outcome is Outcome.REFUSES
        assert "REDIS_TLS_CA" in wrong.detail
        assert look(port, redis_tls=True).outcome is Outcome.REFUSES
        assert look(port, **right, redis_host="localhost").outcome is Outcome.REFUSES
        assert look(port).outcome is Outcome.REFUSES

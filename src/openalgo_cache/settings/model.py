"""The settings: every environment variable of the project, declared once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from openalgo_cache.settings import addresses, parsers
from openalgo_cache.settings.addresses import Sentinels, ServerUrl
from openalgo_cache.settings.findings import Finding, InvalidSettingsError
from openalgo_cache.settings.load import SEARCH, read_variables
from openalgo_cache.settings.rules import check_settings
from openalgo_cache.settings.server import SESSION, Server, resolve_server
from openalgo_cache.settings.variables import Variable, variable, variables_of

if TYPE_CHECKING:
    from openalgo_cache.settings.load import Search
    from openalgo_cache.settings.server import ServerName

_NO_EXPIRY = parsers.seconds_or_zero("no expiry")
_NEVER = parsers.seconds_or_zero("never")
_FLAG = parsers.FLAG


class Described(NamedTuple):
    """One line of a listing of the settings; ``source`` is ``environment``, ``.env``, ``default`` or ``code``."""

    variable: str
    value: str
    source: str
    help: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What the environment says, typed and checked; an attribute is the variable's name in lower case.

    Made by :meth:`from_environment`, or directly in tests and programs (``Settings(cache_backend="memory")``); relative
    paths become absolute either way. Paths end in what their variable names; no file is created or opened for them.

    Attributes:
        sources: Where each variable that was set came from, by its name: ``environment`` or ``.env``.
        dotenv_path: The ``.env`` that was read, if one was.
        base_folder: Where relative paths start: the folder of that file, else the current one.
        reading_warnings: What the reading found that does not keep the settings from working.
        for_sessions: Whether SESSION_REDIS_URL is in the place of the caches' server; see :meth:`of_cache`.
    """

    cache_backend: str | None = variable(
        None,
        parsers.BACKEND,
        "Where caches are kept. Not set: chosen automatically, once, and recorded beside the key ring.",
        section="Choosing a backend",
    )
    cache_auto_configure: bool = variable(
        True, _FLAG, "Whether the automatic choice may look for a Redis. If not, it is SQLite."
    )
    cache_namespace: str | None = variable(
        None,
        parsers.LABEL,
        "Separates installations that share a store. Not set: the random id of the key ring.",
    )

    sqlite_cache_path: Path = variable(
        Path("db/cache"),
        parsers.PATH,
        "What the cache files' names begin with: db/cache makes db/cache_auth.db, db/cache_settings.db and so on. "
        "Its folder also holds the key ring and the record of the chosen backend.",
        section="SQLite",
    )
    sqlite_default_ttl: float | None = variable(
        3600, _NO_EXPIRY, "Lifetime of entries of caches that the catalogue does not name, on any backend."
    )
    sqlite_wal_mode: bool = variable(True, _FLAG, "Whether the files use a write-ahead log: readers never wait.")
    sqlite_vacuum_interval: float | None = variable(
        86400, _NEVER, "How often the space of expired entries is given back to the file system."
    )

    sqlite_file_encryption: bool = variable(
        False,
        _FLAG,
        "Whether the files are encrypted as a whole, readable keys and times included. Needs apsw-sqlite3mc in place "
        "of apsw; 'openalgo-cache encrypt-files' encrypts files that are there already.",
    )

    redis_url: ServerUrl | None = variable(
        None,
        addresses.URL,
        "The server in one line. The parts that it has win over the variables below.",
        section="Redis and Valkey",
    )
    redis_host: str = variable("localhost", addresses.HOST, "The server's host.")
    redis_port: int = variable(6379, addresses.PORT, "The server's port.")
    redis_db: int = variable(0, parsers.whole(0, 65535), "The number of the database.")
    redis_username: str | None = variable(None, parsers.TEXT, "The user, where the server has an access control list.")
    redis_password: str | None = variable(None, parsers.PASSWORD, "The password.")
    redis_pool_size: int = variable(
        10, parsers.whole(1, 1000), "Connections a process at most; in a cluster, to each node."
    )
    redis_timeout: float = variable(5, parsers.seconds(0.01, 300), "How long connecting may take at start.")
    redis_operation_timeout: float = variable(
        0.25,
        parsers.seconds(0.01, 300),
        "How long one operation may take, retries included; of a bulk verb, each round trip.",
    )
    redis_tls: bool = variable(
        False, _FLAG, "Whether the connection is encrypted and the server's certificate checked."
    )
    redis_tls_ca: Path | None = variable(
        None, parsers.PATH, "Certificates that vouch for the server. Not set: those of the system."
    )
    redis_tls_cert: Path | None = variable(None, parsers.PATH, "Our certificate, where the server asks for one.")
    redis_tls_key: Path | None = variable(None, parsers.PATH, "The private key of our certificate.")
    redis_key_prefix: str = variable("openalgo", parsers.LABEL, "What every stored key begins with, on any backend.")
    redis_cluster: bool = variable(False, _FLAG, "Whether the server is a node of a cluster.")
    redis_sentinels: Sentinels | None = variable(
        None, addresses.SENTINELS, "Sentinels that know the primary, in place of host and port."
    )
    redis_plaintext_hosts: frozenset[str] = variable(
        frozenset(),
        addresses.HOSTS,
        "Hosts other than this machine to which an unencrypted connection is allowed.",
    )

    valkey_url: ServerUrl | None = variable(None, addresses.URL, "As REDIS_URL.", twin="redis_url")
    valkey_host: str | None = variable(None, addresses.HOST, "As REDIS_HOST.", twin="redis_host")
    valkey_port: int | None = variable(None, addresses.PORT, "As REDIS_PORT.", twin="redis_port")
    valkey_db: int | None = variable(None, parsers.whole(0, 65535), "As REDIS_DB.", twin="redis_db")
    valkey_username: str | None = variable(None, parsers.TEXT, "As REDIS_USERNAME.", twin="redis_username")
    valkey_password: str | None = variable(None, parsers.PASSWORD, "As REDIS_PASSWORD.", twin="redis_password")
    valkey_pool_size: int | None = variable(None, parsers.whole(1, 1000), "As REDIS_POOL_SIZE.", twin="redis_pool_size")
    valkey_timeout: float | None = variable(None, parsers.seconds(0.01, 300), "As REDIS_TIMEOUT.", twin="redis_timeout")
    valkey_operation_timeout: float | None = variable(
        None, parsers.seconds(0.01, 300), "As REDIS_OPERATION_TIMEOUT.", twin="redis_operation_timeout"
    )
    valkey_tls: bool | None = variable(None, _FLAG, "As REDIS_TLS.", twin="redis_tls")
    valkey_tls_ca: Path | None = variable(None, parsers.PATH, "As REDIS_TLS_CA.", twin="redis_tls_ca")
    valkey_tls_cert: Path | None = variable(None, parsers.PATH, "As REDIS_TLS_CERT.", twin="redis_tls_cert")
    valkey_tls_key: Path | None = variable(None, parsers.PATH, "As REDIS_TLS_KEY.", twin="redis_tls_key")
    valkey_key_prefix: str | None = variable(None, parsers.LABEL, "As REDIS_KEY_PREFIX.", twin="redis_key_prefix")
    valkey_cluster: bool | None = variable(None, _FLAG, "As REDIS_CLUSTER.", twin="redis_cluster")
    valkey_sentinels: Sentinels | None = variable(
        None, addresses.SENTINELS, "As REDIS_SENTINELS.", twin="redis_sentinels"
    )
    valkey_plaintext_hosts: frozenset[str] | None = variable(
        None, addresses.HOSTS, "As REDIS_PLAINTEXT_HOSTS.", twin="redis_plaintext_hosts"
    )

    cache_encryption_enabled: bool = variable(
        True,
        _FLAG,
        "Whether new records of encrypted caches are encrypted. If not, they are only signed: anyone who can read the "
        "store can read broker tokens.",
        section="Security",
    )
    cache_encrypted_names: frozenset[str] = variable(
        frozenset({"auth", "api_keys", "tokens"}),
        parsers.CACHE_NAMES,
        "Caches to encrypt besides those that the catalogue encrypts. api_keys also stands for every cache whose name "
        "begins with api_keys_.",
    )
    cache_key_file: Path | None = variable(
        None,
        parsers.PATH,
        "The key ring, which has to exist. Not set: .cache_key in the folder of the SQLite files, made at first start "
        "(but not with MULTI_INSTANCE_MODE=true: all instances need the same one).",
    )
    cache_encryption_key: bytes | None = variable(
        None,
        parsers.KEY,
        "The key itself, in place of a key ring file. Needs CACHE_NAMESPACE; the same on all hosts. A line in a file "
        "that only its owner can read is safer than the environment.",
    )
    cache_blinded_names: frozenset[str] = variable(
        frozenset(),
        parsers.CACHE_NAMES,
        "Caches of which the store gets keyed hashes in place of keys, besides those of the catalogue; names as above. "
        "Their keys cannot be listed, and what was stored under readable keys is not found any more: clear them first.",
    )
    cache_access_rules: str | Path | None = variable(
        None,
        parsers.word_or_path("catalogue"),
        "Which modules may use which caches: the catalogue's own rules, or those of a TOML file that only its owner "
        "can change. What they do not allow is denied. Not set: every module may use every cache. Read once, at start.",
    )
    cache_audit_enabled: bool = variable(
        False, _FLAG, "Whether the audit log also has every get, set and delete, of the caches of CACHE_AUDIT_CACHES."
    )
    cache_audit_caches: frozenset[str] | None = variable(
        None,
        parsers.CACHE_NAMES_OR_ALL,
        "The caches whose every get, set and delete is logged with CACHE_AUDIT_ENABLED=true. Not set: those that are "
        "encrypted or whose keys are blinded.",
    )
    cache_audit_log_path: Path | None = variable(
        None,
        parsers.PATH,
        "The audit log; each day has a file, with the date before the ending. Not set: cache_audit.log in the folder "
        "of the SQLite files.",
    )
    cache_audit_retention_days: int | None = variable(
        90, parsers.days_or_zero("for ever"), "How many days the audit log is kept."
    )
    cache_audit_queue_size: int = variable(
        10_000, parsers.whole(100, 1_000_000), "The most events that wait to be written to the audit log."
    )
    cache_audit_on_full: str = variable(
        "block",
        parsers.choice("block", "raise"),
        "What happens where as many wait, as on a full disk: block lets callers wait for two seconds, then raises; "
        "raise raises at once. No event is dropped.",
    )

    cache_stats_enabled: bool = variable(
        True,
        _FLAG,
        "Whether the statistics of a cache include what was counted: hits, misses, writes and so on.",
        section="Performance",
    )
    cache_metrics_enabled: bool = variable(False, _FLAG, "Whether hits and misses are logged, at level DEBUG.")
    cache_near_enabled: bool = variable(
        True, _FLAG, "Whether what was read from the store is also kept in this process, coherently."
    )
    cache_near_max_staleness: float = variable(
        30,
        parsers.seconds(0.001, 86400),
        "How long a copy in this process is used at most before the store is asked again.",
    )
    cache_max_value_bytes: int = variable(
        1 << 20,
        parsers.whole(
            1 << 20, 16_000_000
        ),  # below: what instances share of a symbol master; above: a part of an export
        "How large a stored value may be, serialised; larger ones are refused, and larger records are not opened.",
    )
    symbol_cache_preload: bool = variable(
        True, _FLAG, "Whether the symbol master is read ahead, in the background, when it is first used."
    )
    symbol_cache_refresh_interval: float | None = variable(
        None,
        _NEVER,
        "How often to look whether the file that the symbol master was last imported from has changed; "
        "if so, it is imported again.",
    )

    instance_id: str | None = variable(
        None, parsers.LABEL, "This instance, where several share a store.", section="Several instances"
    )
    instance_name: str = variable(
        "openalgo-default", parsers.TEXT, "This instance's name in reports, where it has no INSTANCE_ID."
    )
    multi_instance_mode: bool = variable(
        False,
        _FLAG,
        "Whether several hosts or installations share the caches: needs Redis or Valkey, and INSTANCE_ID.",
    )
    session_type: str = variable(
        "filesystem",
        parsers.choice("filesystem", "redis", "valkey"),
        "Where sessions are kept; filesystem is SQLite beside the caches.",
    )
    session_redis_url: ServerUrl | None = variable(
        None,
        addresses.URL,
        "The server or database for sessions. What it leaves out is as REDIS_... or VALKEY_... say. Not set: where the "
        "caches are.",
        aliases=("SESSION_REDIS",),
    )

    session_expiry_time: str = variable(
        "03:00",
        parsers.DAYTIME,
        "When sessions and broker tokens end each day, in India (Asia/Kolkata).",
        section="Lifetimes",
    )
    auth_cache_ttl: float | None = variable(
        None,
        parsers.seconds_or_zero("until SESSION_EXPIRY_TIME"),
        "Caches auth and feed_token. Only shortens: entries never outlive SESSION_EXPIRY_TIME.",
    )
    symbol_cache_ttl: float | None = variable(
        None,
        _NO_EXPIRY,
        "Cache symbols, which is replaced as a whole.",
        not_yet="the symbol master stays until the next import",
    )
    settings_cache_ttl: float | None = variable(3600, _NO_EXPIRY, "Cache settings.")
    broker_cache_ttl: float | None = variable(300, _NO_EXPIRY, "Cache broker.")
    strategy_cache_ttl: float | None = variable(
        600, _NO_EXPIRY, "Cache user_strategies; strategy_webhook too, but there 300 at most."
    )
    api_key_cache_ttl: float | None = variable(
        36000, _NO_EXPIRY, "Cache api_keys_verified, whose entries never outlive SESSION_EXPIRY_TIME either."
    )

    sources: Mapping[str, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}), compare=False)
    dotenv_path: Path | None = dataclasses.field(default=None, compare=False)
    base_folder: Path = dataclasses.field(default_factory=Path.cwd, compare=False)
    reading_warnings: tuple[Finding, ...] = dataclasses.field(default=(), compare=False)
    for_sessions: bool = False

    def __post_init__(self) -> None:
        for declared in VARIABLES:
            value = getattr(self, declared.name.lower())
            if isinstance(value, Path):
                object.__setattr__(self, declared.name.lower(), self.base_folder / value)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, dotenv: Path | Search | None = SEARCH
    ) -> Settings:
        """Read the settings from the environment and a ``.env`` file; the environment wins, neither is changed.

        Args:
            environ: The environment; ``os.environ`` if left out.
            dotenv: The file; None for none; left out, the file that OPENALGO_CACHE_ENV_FILE names, else ``.env`` in the
                current folder if there is one.

        Raises:
            InvalidSettingsError: Some variables cannot be read, or contradict each other; it lists all of them.
        """
        reading = read_variables(VARIABLES, os.environ if environ is None else environ, dotenv)
        settings = cls(
            **reading.values,
            sources=MappingProxyType(reading.sources),
            dotenv_path=reading.dotenv_path,
            base_folder=reading.base_folder,
            reading_warnings=tuple(finding for finding in reading.findings if finding.severity == "warning"),
        )
        # A rule over a variable that could not be read would complain about its default.
        contradictions = [
            finding
            for finding in check_settings(settings)
            if not any(name in str(finding) for name in reading.unreadable)
        ]
        findings = [*reading.findings, *contradictions]
        if any(finding.severity == "error" for finding in findings):
            raise InvalidSettingsError(findings)
        return settings

    def check(self) -> list[Finding]:
        """Return everything that is wrong or doubtful, errors and warnings."""
        return [*self.reading_warnings, *check_settings(self)]

    @property
    def cache_folder(self) -> Path:
        """The folder of the SQLite files, the key ring and the record of the chosen backend."""
        return self.sqlite_cache_path.parent

    @property
    def audit_log_path(self) -> Path:
        """The path of the audit log, without a date."""
        return self.cache_audit_log_path or self.cache_folder / "cache_audit.log"

    def cache_file(self, cache: str, ending: str) -> Path:
        """Return the path of a file of one cache, such as ``db/cache_auth.db`` for the ending ``.db``."""
        # Namespaces may have dots, which set the files beside a cache's own apart: backups, damaged copies, recency.
        at = f"@{self.cache_namespace.replace('.', '%2E')}" if self.cache_namespace is not None else ""
        base = self.sqlite_cache_path
        return base.with_name(f"{base.name}_{cache}{at}{ending}")

    @property
    def instance(self) -> str:
        """What this instance is called: INSTANCE_ID, or INSTANCE_NAME where it has none."""
        return self.instance_id or self.instance_name

    def of_cache(self, name: str) -> Settings:
        """Return the settings as one cache has them: that of the sessions may have a server of its own."""
        if name != SESSION or self.session_redis_url is None or self.session_type == "filesystem":
            return self
        return dataclasses.replace(self, for_sessions=True)

    def server(self, name: ServerName) -> Server:
        """Return how to reach the server of ``redis`` or ``valkey``: URL, variables and fallbacks put together."""
        return resolve_server(self, name)

    def describe(self) -> list[Described]:
        """List every variable with its value (secrets hidden), where that came from, and what it does."""
        lines = []
        for declared in VARIABLES:
            value = getattr(self, declared.name.lower())
            default = self.base_folder / declared.default if isinstance(declared.default, Path) else declared.default
            source = self.sources.get(declared.name, "default" if value == default else "code")
            lines.append(Described(declared.name, declared.parser.show(value), source, declared.help))
        return lines

    def __repr__(self) -> str:
        """Show what differs from the defaults; secrets are hidden."""
        differing = [f"{line.variable.lower()}={line.value!r}" for line in self.describe() if line.source != "default"]
        return f"Settings({', '.join(differing)})"


VARIABLES: Final[tuple[Variable, ...]] = variables_of(Settings)
"""Every variable, in the order of the reference."""

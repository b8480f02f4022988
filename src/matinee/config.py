"""The settings table: every setting once, with its variable, default, unit and help.

It feeds the defaults, the environment, `matinee config`, docs/settings.md and the validation. Called by runtime and cli.
Precedence: command line over environment over secret files in MATINEE_HOME over default.
Standard variable names where they exist, else MATINEE_*; an unknown MATINEE_* is an error, because a misspelt setting that is
silently ignored is found at night. Variables that Kubernetes or Docker injects are ignored (injected_variables.py).
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.addresses import bare
from matinee.errors import ConfigError
from matinee.injected_variables import PREFIX, injected, is_url
from matinee.machine import memory_bytes
from matinee.setting_urls import POSTGRES, as_database_url, as_memcached_url, as_redis_url, postgres_urls, sqlite_file
from matinee.setting_urls import without_password as without_password  # noqa: PLC0414  other rooms import it from here
from matinee.setting_values import (
    AUTO,
    as_text,
    base_url,
    bytes_or_auto,
    choice,
    cleaned,
    data_folder,
    flag,
    folder,
    health_address,
    names,
    networks,
    number,
    rate_or_auto,
    rotation_bytes,
    web_origins,
    whole,
    whole_or_auto,
)

_LOCAL_SHARE = 0.1  # of the machine's memory, for the local caches of all its server processes together
_LEAST_LOCAL_BYTES, _MOST_LOCAL_BYTES = 16 * 2**20, 2 * 2**30  # of one process; beyond, the catalogue is in memory anyway
_MOST_CONNECTIONS = 4096  # of one process, unless it is set
_OWN_FILES = 512  # of one process: databases, caches, logs, the health listener
_CLIENT_RATE_PER_S, _KEY_RATE_PER_S = 100.0, 500.0  # in production; a process answers about 3,000 uncached reads a second
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def _setting(env: str, default: Any, read: Callable[[str], Any], help_text: str, *, secret: bool = False) -> Any:
    metadata = {"env": env, "read": read, "help": help_text, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Config:
    """The settings of one process. A field is a setting; its metadata is its row in the table."""

    home: Path = _setting(
        "MATINEE_HOME",
        data_folder(),
        folder,
        "Folder of the catalogue, its secrets and its logs.",
    )
    env: str = _setting(
        "MATINEE_ENV", "development", choice("development", "production"), "`production` demands SECRET_KEY and ALLOWED_HOSTS."
    )
    database_url: str = _setting(
        "DATABASE_URL",
        "",
        as_database_url,
        "Where the catalogue is written: PostgreSQL's leader, or sqlite:///PATH (a fourth slash begins an absolute path; "
        "?timeout=SECONDS sets MATINEE_BUSY_TIMEOUT_MS); empty is catalogue.sqlite3 in MATINEE_HOME.",
    )
    follower_urls: tuple[str, ...] = _setting(
        "DATABASE_FOLLOWER_URLS",
        (),
        postgres_urls,
        "PostgreSQL's followers, from which everybody reads, parted by commas; empty reads from the leader.",
    )
    redis_url: str = _setting(
        "REDIS_URL",
        "",
        as_redis_url,
        "Redis or Valkey that all servers share as a cache: redis://, rediss:// or unix://; empty is none.",
    )
    memcached_url: str = _setting(
        "MEMCACHED_URL", "", as_memcached_url, "memcached in its place: memcached://HOST:PORT; one of the two at most."
    )
    shared_cache_deadline_ms: int = _setting(
        "MATINEE_SHARED_CACHE_DEADLINE_MS",
        50,
        whole(1, 10_000),
        "Milliseconds after which a shared cache that does not answer is left alone until it does.",
    )
    secret_key: str = _setting(
        "SECRET_KEY",
        "",
        str,
        "Signs cursors and admin sessions; made and kept in MATINEE_HOME outside production.",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "ALLOWED_HOSTS",
        _LOCAL_HOSTS,
        names,
        "Host names that requests may name, separated by commas; .example.org includes its subdomains, * is any. Set it when "
        "clients use a name: the API then refuses other hosts with 400, as the admin always does. Health checks may name any.",
    )
    host: str = _setting(
        "MATINEE_HOST",
        "127.0.0.1",
        bare,
        "Address or host name that the server listens on; of a name the first address that can be bound, IPv4 before IPv6. "
        "0.0.0.0 is all addresses of IPv4, :: of IPv6.",
    )
    port: int = _setting("PORT", 8000, whole(1, 65_535), "Port that the server listens on.")
    workers: int = _setting("WEB_CONCURRENCY", 1, whole(1, 256), "Server processes.")
    log_level: str = _setting("LOG_LEVEL", "info", choice("debug", "info", "warning", "error"), "Least level that is logged.")
    log_format: str = _setting(
        "LOG_FORMAT",
        "auto",
        choice("auto", "console", "json"),
        "How the log is written; auto: console on a terminal, else json.",
    )
    log_file: str = _setting(
        "MATINEE_LOG_FILE", "", str, "File that the log goes to; empty is the standard error stream. SIGHUP opens it again."
    )
    log_max_bytes: int = _setting(
        "MATINEE_LOG_MAX_BYTES",
        33_554_432,
        rotation_bytes,
        "Bytes after which the log file is renamed to FILE.1 and begun again, at least 65536; 0 never does. Set 0 when another "
        "program, such as logrotate, bounds the file.",
    )
    log_max_age_s: int = _setting(
        "MATINEE_LOG_MAX_AGE_S",
        86_400,
        whole(0, 31_536_000),
        "Seconds of which one log file holds the lines: 86400 is one file a day (UTC); 0 rotates by size alone.",
    )
    log_keep: int = _setting(
        "MATINEE_LOG_KEEP",
        7,
        whole(0, 1_000),
        "Older log files that are kept, so the log takes MATINEE_LOG_MAX_BYTES times this plus one at most. Raise it to look "
        "back further.",
    )
    access_log_bytes_per_s: int = _setting(
        "MATINEE_ACCESS_LOG_BYTES_PER_S",
        2_097_152,
        whole(0, 2**40),
        "Bytes a second of the access log, by all server processes together; further requests are counted in one line a "
        "second. A half is for good answers, a quarter each for 4xx and 5xx. 0 logs all; raise it above 4,000 requests/s.",
    )
    public_url: str = _setting(
        "MATINEE_PUBLIC_URL", "", base_url, "Address under which clients see this service; empty is what each request says."
    )
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = _setting(
        "MATINEE_TRUSTED_PROXIES",
        (),
        networks,
        "Addresses or networks of proxies whose X-Forwarded-For is believed, separated by commas, such as the balancer's; "
        "empty takes each connection's peer as the client.",
    )
    access_log: bool = _setting(
        "MATINEE_ACCESS_LOG",
        True,
        flag,
        "Whether each request is logged.",
    )
    public_reads: bool = _setting(
        "MATINEE_PUBLIC_READS", True, flag, "Whether anybody may read; if not, reads need a key of scope read or write."
    )
    cors_origins: tuple[str, ...] = _setting(
        "MATINEE_CORS_ORIGINS",
        (),
        web_origins,
        "Web origins whose pages may call the API from a browser, such as https://films.example.org, separated by commas; "
        "* is any.",
    )
    max_age_s: int = _setting(
        "MATINEE_MAX_AGE_S", 0, whole(0, 86_400), "Seconds that clients may keep an answer without asking again."
    )
    max_body_bytes: int = _setting(
        "MATINEE_MAX_BODY_BYTES", 1_048_576, whole(1_024, 1_073_741_824), "Largest request body in bytes; more is a 413."
    )
    body_timeout_s: int = _setting(
        "MATINEE_BODY_TIMEOUT_S",
        30,
        whole(1, 3_600),
        "Seconds for a request body to arrive completely; then it is a 408 and the connection is closed. A client that "
        "takes less than 1 kB a second of an answer for as long is closed too. Raise it together with MATINEE_MAX_BODY_BYTES.",
    )
    header_timeout_s: int = _setting(
        "MATINEE_HEADER_TIMEOUT_S",
        10,
        whole(1, 3_600),
        "Seconds for the line and headers of a request to arrive completely, on a new connection from its beginning. "
        "Lower it under an attack with slow clients.",
    )
    idle_timeout_s: int = _setting(
        "MATINEE_IDLE_TIMEOUT_S",
        75,
        whole(1, 3_600),
        "Seconds that a connection may stay open without a request. Keep it longer than a proxy in front keeps its unused "
        "connections (nginx: 60), or the proxy sends requests into connections that are just being closed.",
    )
    client_connections: int = _setting(
        "MATINEE_CLIENT_CONNECTIONS",
        256,
        whole(0, 1_000_000),
        "Connections of one client address (IPv6: one /64 network) to each server process; beyond it those without a request "
        "under way are closed, the longest unused first. 0 is no limit. MATINEE_TRUSTED_PROXIES are exempt. Raise it when many "
        "clients share an address.",
    )
    connections: int = _setting(
        "MATINEE_CONNECTIONS",
        AUTO,
        whole_or_auto(16, 1_000_000),
        "Connections to each server process; near it those of the clients with the most are closed. auto is 4096, or what the "
        "limit of open files (ulimit -Hn) allows. Raise it when more clients than that are connected at the same time.",
    )
    http2: bool = _setting(
        "MATINEE_HTTP2",
        False,
        flag,
        "Whether clients may speak HTTP/2 without TLS (h2c). Turn it on only for a proxy in front that needs it.",
    )
    ops_address: str = _setting(
        "MATINEE_OPS_ADDRESS",
        "auto",
        health_address,
        "ADDRESS:PORT of a second listener for /livez, /readyz and /metrics alone, which answers while the other is flooded; "
        "auto is 127.0.0.1 and PORT + 1000, off is none. Set it when probes come from another machine.",
    )
    max_in_flight: int = _setting(
        "MATINEE_MAX_IN_FLIGHT",
        100,
        whole(1, 10_000),
        "Requests that a server process works on at once, a quarter of them the admin's; more are a 503. Hits of the local "
        "cache do not count.",
    )
    watchdog_s: float = _setting(
        "MATINEE_WATCHDOG_S",
        10.0,
        number(0, 3600),
        "Seconds that a server process may be stuck before it ends itself and is replaced, at least 1; 0 lets it be.",
    )
    read_timeout_ms: int = _setting(
        "MATINEE_READ_TIMEOUT_MS", 1_000, whole(10, 60_000), "Milliseconds after which a read is given up with a 503."
    )
    write_timeout_ms: int = _setting(
        "MATINEE_WRITE_TIMEOUT_MS",
        5_000,
        whole(100, 60_000),
        "Milliseconds after which a write is given up with a 503 (PostgreSQL), or not begun any more.",
    )
    client_rate: float = _setting(
        "MATINEE_CLIENT_RATE",
        float(AUTO),
        rate_or_auto,
        "Requests a second that each client address may send to each server process (with Redis: to all of them together), ten "
        "seconds' worth at once; more are a 429. Hits of the local cache do not count. auto is 100 in production and off "
        "otherwise; off is no limit.",
    )
    key_rate: float = _setting(
        "MATINEE_KEY_RATE",
        float(AUTO),
        rate_or_auto,
        "The same for each API key that has no quota of its own (`matinee key quota`), a minute's worth at once. auto is 500 "
        "in production and off otherwise.",
    )
    expensive_reads: int = _setting(
        "MATINEE_EXPENSIVE_READS",
        2,
        whole(1, 100),
        "Expensive reads that a server process runs at once, so that cheap reads keep their latency; more wait shortly, then "
        "are a 503 or 429. Raise it on a machine with many cores.",
    )
    max_follower_lag_s: float = _setting(
        "MATINEE_MAX_FOLLOWER_LAG_S", 1.0, number(0.1, 3600), "Seconds that a follower may be behind while another one is not."
    )
    min_position_wait_ms: int = _setting(
        "MATINEE_MIN_POSITION_WAIT_MS",
        200,
        whole(0, 10_000),
        "Milliseconds that a read with Matinee-Min-Position waits for a follower before it goes to the leader.",
    )
    leader_reads: str = _setting(
        "MATINEE_LEADER_READS",
        "when_needed",
        choice("when_needed", "never"),
        "Whether the leader answers reads that no follower can: when_needed, or never.",
    )
    pool_size: int = _setting("MATINEE_POOL_SIZE", 8, whole(1, 200), "Connections to each follower, for each server process.")
    leader_pool_size: int = _setting(
        "MATINEE_LEADER_POOL_SIZE",
        4,
        whole(1, 200),
        "Reads that the leader answers at the same time for each server process while there are followers.",
    )
    change_tail_interval_ms: int = _setting(
        "MATINEE_CHANGE_TAIL_INTERVAL_MS",
        100,
        whole(10, 10_000),
        "Milliseconds between two looks at how far the leader and each follower are.",
    )
    hedge_ms: int = _setting(
        "MATINEE_HEDGE_MS",
        50,
        whole(5, 10_000),
        "Milliseconds without an answer after which a read is asked of another follower too.",
    )
    pgbouncer: bool = _setting(
        "MATINEE_PGBOUNCER",
        False,
        flag,
        "Whether the URLs lead to PgBouncer in transaction mode: no prepared statements, no settings of a session.",
    )
    busy_timeout_ms: int = _setting(
        "MATINEE_BUSY_TIMEOUT_MS", 5_000, whole(0, 60_000), "Milliseconds that a write waits for another writer (SQLite)."
    )
    local_cache_bytes: int = _setting(
        "MATINEE_LOCAL_CACHE_BYTES",
        AUTO,
        bytes_or_auto,
        "Bytes of ready answers that each server process keeps; 0 keeps none, auto is a tenth of the memory by all processes.",
    )
    cache_policy: str = _setting(
        "MATINEE_CACHE_POLICY",
        "s3fifo",
        choice("s3fifo", "lru", "topn"),
        "What the local cache keeps when it is full; `matinee cache simulate` compares them on your own traffic.",
    )
    list_max_staleness_s: float = _setting(
        "MATINEE_LIST_MAX_STALENESS_S",
        2.0,
        number(0, 60),
        "Seconds that a kept page is served after a change that it may lack, while it is read anew.",
    )
    stale_if_error_s: float = _setting(
        "MATINEE_STALE_IF_ERROR_S",
        60.0,
        number(0, 86_400),
        "Seconds that a kept answer may be old when nothing can be read; it says so. 0 answers 503 instead.",
    )
    popularity: bool = _setting(
        "MATINEE_POPULARITY",
        True,
        flag,
        "Whether accesses of movies are counted, for /v1/trending and for what a server loads when it starts.",
    )
    warm_movies: int = _setting(
        "MATINEE_WARM_MOVIES",
        1_000,
        whole(0, 100_000),
        "Movies that are asked for most, which a server loads before it says that it is ready; for two seconds at most.",
    )
    s_maxage_s: int = _setting(
        "MATINEE_S_MAXAGE_S",
        0,
        whole(0, 86_400),
        "Seconds that a cache in front, such as the balancer's, may answer again what it was answered (s-maxage); 0 is never.",
    )
    cdn_max_age_s: int = _setting(
        "MATINEE_CDN_MAX_AGE_S",
        0,
        whole(0, 31_536_000),
        "Seconds that a CDN in front may keep an answer (CDN-Cache-Control); 0 says nothing to it.",
    )
    cdn_tags: str = _setting(
        "MATINEE_CDN_TAGS",
        "surrogate-key",
        choice("surrogate-key", "cache-tag", "none"),
        "Header that names what an answer shows, for a CDN that purges by it (`matinee changes follow --purge-list`).",
    )
    drain_s: int = _setting(
        "MATINEE_DRAIN_S", 1, whole(0, 300), "Seconds between SIGTERM, when /readyz turns 503, and the end of accepting."
    )
    import_batch_rows: int = _setting(
        "MATINEE_IMPORT_BATCH_ROWS", 250, whole(1, 5_000), "Movies an import writes in one transaction."
    )

    @property
    def on_postgres(self) -> bool:
        """Return whether the catalogue is in PostgreSQL."""
        return bool(POSTGRES.match(self.database_url))

    @property
    def database_name(self) -> str:
        """Return where the catalogue is, as people may read it: without the password."""
        return without_password(self.database_url) if self.on_postgres else str(self.database_path)

    @property
    def database_path(self) -> Path:
        """Return the SQLite file; who is `on_postgres` has none and must not ask."""
        if self.database_url:
            return sqlite_file(self.database_url).path
        return self.home / "catalogue.sqlite3"

    @property
    def local_cache_bound_bytes(self) -> int:
        """Return the bound of each process's local cache."""
        if self.local_cache_bytes != AUTO:
            return self.local_cache_bytes
        share_bytes = int(memory_bytes() * _LOCAL_SHARE / self.workers)
        # In a small container with several processes the usual least would be most of its memory.
        least_bytes = min(_LEAST_LOCAL_BYTES, 2 * share_bytes)
        return max(least_bytes, min(share_bytes, _MOST_LOCAL_BYTES))

    @property
    def connection_bound(self) -> int:
        """Return how many connections each process takes: never more than its limit of open files allows."""
        _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most_files == resource.RLIM_INFINITY:
            most_files = 1_000_000
        most = most_files - min(_OWN_FILES, most_files // 2)
        return min(_MOST_CONNECTIONS if self.connections == AUTO else self.connections, most)

    @property
    def client_rate_per_s(self) -> float:
        """Return how many requests a second a client address may send; 0 is without a limit."""
        return self._rate(self.client_rate, _CLIENT_RATE_PER_S)

    @property
    def key_rate_per_s(self) -> float:
        """Return how many requests a second a key without a quota may send; 0 is without a limit."""
        return self._rate(self.key_rate, _KEY_RATE_PER_S)

    def _rate(self, stated: float, in_production: float) -> float:
        return stated if stated != AUTO else in_production if self.production else 0.0

    @property
    def stuck_after_s(self) -> float:
        """Return how long the event loop may stand still; 0 is for ever. On SQLite one read may hold it until its deadline."""
        if not self.watchdog_s:
            return 0.0
        return max(self.watchdog_s, 1.0, 0.0 if self.on_postgres else 2 * self.read_timeout_ms / 1000)

    @property
    def open_to_all_hosts(self) -> bool:
        """Return whether any host name is answered: listening on all addresses, no names given, not in production."""
        return self.host in ("0.0.0.0", "::") and self.allowed_hosts == _LOCAL_HOSTS and not self.production  # noqa: S104

    @property
    def restricts_hosts(self) -> bool:
        """Return whether the API answers named hosts only: in production, and when names are given."""
        return self.production or self.allowed_hosts != _LOCAL_HOSTS

    @property
    def production(self) -> bool:
        """Return whether this installation is in production mode."""
        return self.env == "production"


@dataclass(frozen=True)
class Origin:
    """Where a setting's value came from."""

    name: str
    env: str
    value: Any
    source: str
    secret: bool
    help: str


SETTINGS = dataclasses.fields(Config)


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
    """Return the configuration of this process.

    Raises: ConfigError with all faults at once.
    """
    environ = os.environ if environ is None else environ
    faults = [*_unknown(environ)]
    environ = given(environ)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        env, read = setting.metadata["env"], setting.metadata["read"]
        if env in environ:
            try:
                values[setting.name] = read(as_text(environ[env]))
            except ValueError as error:
                shown = "(hidden)" if setting.metadata["secret"] else ascii(without_password(environ[env])[:80])
                faults.append(f"{env}={shown}: {error}")
    values.update({name: value for name, value in overrides.items() if value is not None})
    _take_sqlite_timeout(values)
    values |= {"host": bare(values["host"])} if "host" in values else {}
    if "home" not in values and not Config.home.is_absolute() and not faults:
        faults.append("MATINEE_HOME is not set, and this user has no home folder; set MATINEE_HOME=/path/to/folder")
    config = Config(**values)
    if "secret_key" not in values:
        config = dataclasses.replace(config, secret_key=_kept_secret(config))
    if config.redis_url and config.memcached_url:
        faults.append("REDIS_URL and MEMCACHED_URL are both set; choose one, and unset the other")
    faults.extend(_production_faults(config, environ))
    if faults:
        raise ConfigError("The settings are wrong:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return config


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the data folder, whatever is wrong with the other settings. Raises: ValueError."""
    text = given(environ).get("MATINEE_HOME")
    return folder(as_text(text)) if text else Config.home


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of settings that have a value, without blanks and quotes around it and without injected ones."""
    known = [setting.metadata["env"] for setting in SETTINGS]
    # A setting NAME_PORT would get tcp://IP:PORT from a Service of that name, and no setting has such a value.
    values = {env: cleaned(environ[env]) for env in known if env in environ and not is_url(environ[env])}
    return {env: value for env, value in values.items() if value}


def origins(config: Config, environ: Mapping[str, str] | None = None) -> list[Origin]:
    """Return every setting with its value and where it came from; secrets are the caller's to mask."""
    environ = given(os.environ if environ is None else environ)
    rows = []
    for setting in SETTINGS:
        env, value = setting.metadata["env"], getattr(config, setting.name)
        source = "default" if value == setting.default else "command line"
        if env in environ:
            source = f"environment {env}"
        elif setting.name == "secret_key" and value:
            source = str(secret_path(config))
        rows.append(Origin(setting.name, env, value, source, setting.metadata["secret"], setting.metadata["help"]))
    return rows


def secret_path(config: Config) -> Path:
    """Return the file in which `matinee up` keeps the secret key that it made."""
    return config.home / "secret_key"


def _kept_secret(config: Config) -> str:
    # In production the secret must be given: a file that another process makes on another machine would differ.
    if config.production:
        return ""
    try:
        return secret_path(config).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _take_sqlite_timeout(values: dict[str, Any]) -> None:
    """Take the busy timeout from the SQLite URL, unless MATINEE_BUSY_TIMEOUT_MS states it."""
    url = values.get("database_url", "")
    timeout_s = sqlite_file(url).timeout_s if url.startswith("sqlite:") else None
    if timeout_s is not None:
        values.setdefault("busy_timeout_ms", round(timeout_s * 1000))


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [setting.metadata["env"] for setting in SETTINGS]
    ignored = set(injected(environ))
    faults = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name not in ignored:
            plain = name.removeprefix(PREFIX)
            near = [plain] if plain in known else difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see `matinee config show` for the known ones"
            faults.append(f"{ascii(name)[1:-1]} is no setting; {hint}")
    return faults


def _production_faults(config: Config, environ: Mapping[str, str]) -> list[str]:
    if not config.production:
        return []
    faults = []
    if len(config.secret_key) < 32:
        faults.append("MATINEE_ENV=production needs SECRET_KEY, 32 characters or more, the same on every server")
    if not environ.get("ALLOWED_HOSTS") or not config.allowed_hosts:
        faults.append("MATINEE_ENV=production needs ALLOWED_HOSTS, as ALLOWED_HOSTS=movies.example.org")
    return faults

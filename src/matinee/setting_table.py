"""The settings table: every setting once, with its variable, default, unit and help. Called by config.py alone.

It feeds the defaults, the environment, `matinee config`, docs/settings.md and the validation. It must never decide anything:
what follows from several settings is in config.py.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.addresses import bare
from matinee.setting_urls import as_database_url, as_memcached_url, as_redis_url, postgres_urls
from matinee.setting_values import (
    AUTO,
    base_url,
    bytes_or_auto,
    choice,
    data_folder,
    flag,
    folder,
    health_address,
    host_names,
    networks,
    number,
    rate_or_auto,
    rotation_bytes,
    web_origins,
    whole,
    whole_or_auto,
)

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def _setting(env: str, default: Any, read: Callable[[str], Any], help_text: str, *, secret: bool = False) -> Any:
    metadata = {"env": env, "read": read, "help": help_text, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class SettingTable:
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
        "Signs cursors, admin sessions and values in the shared cache; the same on all servers. Outside production it is "
        "made and kept in MATINEE_HOME.",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "ALLOWED_HOSTS",
        LOCAL_HOSTS,
        host_names,
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
        "MATINEE_PUBLIC_URL",
        "",
        base_url,
        "Address under which clients see this service, with a path if it has one, such as "
        "https://example.org/films: a proxy may pass that path on or take it off. Empty is what each request says.",
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
        "ADDRESS:PORT of the health listener: /metrics, /readyz with a line for each database, and /livez, also while the "
        "service's own port is flooded. auto is 127.0.0.1 and PORT + 1000, off is none. Set it when Prometheus is on another "
        "machine, to an address that the public cannot reach.",
    )
    ops_public: bool = _setting(
        "MATINEE_OPS_PUBLIC",
        False,
        flag,
        "Whether the service's own port answers /metrics and the whole /readyz while MATINEE_OPS_ADDRESS is off. They name "
        "database addresses and their lag: set it only where the port is not public and a second one is impossible.",
    )
    certificates: Path | None = _setting(
        "MATINEE_CERTIFICATES",
        None,
        folder,
        "Folder whose *.crt files `matinee doctor` and /metrics watch for their end, such as /etc/matinee/tls; empty is none. "
        "CA files and certificates that DATABASE_URL, DATABASE_FOLLOWER_URLS and REDIS_URL name are watched anyway.",
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

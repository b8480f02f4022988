"""Read and check the URLs of databases and caches; a fault says what to write instead. Called by config.py.

A URL is checked whole before anything is opened: a misread one would make a file of an odd name, or reach another server. No
message may repeat a user's password, so a fault in that part is described, never quoted.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote_to_bytes

POSTGRES = re.compile(r"postgres(?:ql)?://")
_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S*(?=@)|([?&]password=)[^&\s]*")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS = re.compile(r"/?[A-Za-z]:[\\/]")
_DATABASE = "must be postgresql://USER@HOST/DATABASE or sqlite:///PATH"
_REDIS = "must be redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], rediss://... or unix://PATH"
_MEMCACHED = "must be memcached://HOST[:PORT]"
_POSTGRES_PARAMETERS = """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
    gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval
    krbsrvname load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_client_secret
    oauth_issuer oauth_scope options passfile password port replication require_auth requirepeer scram_client_key
    scram_server_key service ssl ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
    sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni
    target_session_attrs tcp_user_timeout user
""".split()  # noqa: SIM905  of libpq 15 to 18
_REDIS_PARAMETERS = ("db", "username", "password", "health_check_interval", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile",
                     "ssl_keyfile", "ssl_check_hostname", "ssl_min_version", "client_name", "protocol", "socket_timeout",
                     "socket_connect_timeout", "socket_keepalive", "retry_on_timeout", "max_connections")  # fmt: skip


@dataclass(frozen=True)
class SqliteFile:
    """What a sqlite:/// URL names: the file, and the seconds that a write waits for another one, None when not stated."""

    path: Path
    timeout_s: float | None


def as_database_url(text: str) -> str:
    """Read where the catalogue is written. Raises: ValueError."""
    if POSTGRES.match(text):
        return _postgres(text)
    if text.startswith("sqlite:"):
        sqlite_file(text)
        return text
    if re.match(r"\s*(?:host|hostaddr|dbname|service|user|port)\s*=", text):
        raise ValueError(
            f"{_DATABASE}; write the keywords as parts of the URL, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    raise ValueError(_DATABASE)


def sqlite_file(url: str) -> SqliteFile:
    """Return the file that a sqlite:/// URL names. Three slashes begin a relative path, four an absolute one.

    Raises: ValueError.
    """
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise ValueError(_DATABASE + ("; four slashes begin an absolute path" if url not in ("sqlite:///", "sqlite:") else ""))
    named, has_query, query = url.removeprefix("sqlite:///").partition("?")
    if "#" in url:
        raise ValueError("a # in a file's name is written %23")
    path = _decoded(named)
    if named == ":memory:":
        raise ValueError(
            "a catalogue in memory cannot be shared by processes; name a file, as sqlite:////srv/matinee/movies.db"
        )
    if named.startswith("file:"):
        raise ValueError("must be a path and not a file: URI, as sqlite:////srv/matinee/movies.db")
    if _WINDOWS.match(named) or "\\" in named:
        raise ValueError("must be a path with forward slashes and no drive letter; Matinee does not run on Windows")
    timeout_s = _sqlite_timeout(query) if has_query else None
    return SqliteFile(_file(path), timeout_s)


def _file(path: str) -> Path:
    try:
        if path.endswith("/") or Path(path).expanduser().is_dir():
            raise ValueError("names a folder; add the name of a file, as sqlite:////srv/matinee/movies.db")
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, or ~ of a user without a home folder
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ValueError(f"cannot be used as a file ({reason}); name another with its whole path") from None


def _decoded(text: str) -> str:
    if _PERCENT.search(text):
        raise ValueError("a % that begins no escape such as %20 is written %25")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("its % escapes are not UTF-8") from None
    if _CONTROL.search(decoded):
        raise ValueError("no path holds a control character such as a line break or %00")
    return decoded


def _sqlite_timeout(query: str) -> float | None:
    timeout_s = None
    for name, value in parse_qsl(query, keep_blank_values=True) or [(query, "")]:
        if name != "timeout":
            raise ValueError(
                f"there is no parameter {name[:40]!r}; the known one is timeout=SECONDS. A ? in a file's name is written %3F"
            )
        try:
            timeout_s = float(value)
        except ValueError:
            timeout_s = -1.0
        if not 0 <= timeout_s <= 60:
            raise ValueError("timeout must be a number of seconds from 0 to 60")
    return timeout_s


def postgres_urls(text: str) -> tuple[str, ...]:
    """Read URLs of PostgreSQL, separated by commas. Raises: ValueError."""
    # A URL of several hosts has commas of its own, so the list is split where the next URL begins.
    urls = tuple(re.split(r"[\s,]+(?=postgres(?:ql)?://)", text.strip().strip(",")))
    if not all(POSTGRES.match(url) for url in urls):
        raise ValueError("must be postgresql:// URLs, separated by commas")
    return tuple(_postgres(url) for url in urls)


def _postgres(url: str) -> str:
    """Return a URL of PostgreSQL that libpq reads as it was meant. Raises: ValueError."""
    rest = POSTGRES.sub("", url, count=1)
    head, has_query, query = rest.partition("?")
    authority, _, database = head.partition("/")
    if re.search(r"\s|[\x00-\x1f]", url):
        raise ValueError("holds a blank; in a password or a name it is written %20")
    if authority.count("@") > 1 or "@" in database:
        raise ValueError("in a user's name or password @ is written %40, / %2F, ? %3F, : %3A and % %25")
    if _PERCENT.search(url):
        raise ValueError("a % that begins no escape is written %25, also in a password")
    _check_hosts(authority.rpartition("@")[2])
    stated = parse_qsl(query, keep_blank_values=True) if has_query else []
    _check_names([name for name, _ in stated], _POSTGRES_PARAMETERS)
    is_named = database or any(name in ("dbname", "service") and value for name, value in stated)
    if not is_named and not os.environ.get("PGDATABASE") and not os.environ.get("PGSERVICE"):
        raise ValueError("names no database; write it after the host, as postgresql://USER@HOST/matinee")
    return url


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(","):
        bracketed = re.fullmatch(r"\[[0-9A-Fa-f:.%\w]+\](?::(.*))?", host)
        plain = re.fullmatch(r"[^:\[\]]*(?::([^:]*))?", host)
        found = bracketed or plain
        if not found:
            raise ValueError("an IPv6 address stands in brackets, as postgresql://USER@[::1]:5432/matinee")
        _check_port(found.group(1))


def _check_port(port: str | None) -> None:
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        # What stands here may be a password's end, so it is not shown.
        raise ValueError("the port must be a number from 1 to 65535; in a password : is written %3A, / %2F and @ %40")


def _check_names(names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known[:6])} and others of the driver"
            raise ValueError(f"there is no parameter {name[:40]!r}; {hint}")


def as_redis_url(text: str) -> str:
    """Read the URL of Redis. Raises: ValueError."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("redis", "rediss", "unix") or re.search(r"\s|[\x00-\x1f]", text):
        raise ValueError(_REDIS)
    head, _, query = rest.partition("?")
    _check_names([name for name, _ in parse_qsl(query, keep_blank_values=True)], sorted(_REDIS_PARAMETERS))
    if scheme == "unix":
        if not head.rpartition("@")[2]:
            raise ValueError(_REDIS)
        return text
    authority, _, number = head.partition("/")
    if authority.count("@") > 1 or "@" in number or _PERCENT.search(authority):
        raise ValueError("in a user's name or password @ is written %40, / %2F, ? %3F, : %3A and % %25")
    _check_hosts(authority.rpartition("@")[2])
    if "," in authority.rpartition("@")[2]:
        raise ValueError(_REDIS)
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError("after the host stands the number of a database, as redis://HOST:6379/0")
    return text


def as_memcached_url(text: str) -> str:
    """Read the URL of memcached. Raises: ValueError."""
    found = re.fullmatch(r"memcached://(?:[^\s/:@,?#]+|\[[0-9a-fA-F:]+\])(?::(\d+))?/?", text)
    if not found:
        raise ValueError(_MEMCACHED)
    _check_port(found.group(1))
    return text


def without_password(url: str) -> str:
    """Return a server's URL as it may be shown."""
    return _PASSWORD.sub(r"\1\2***", url)

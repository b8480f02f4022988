"""The settings of a process: read from the environment, checked all at once, and what follows from several of them.

The table itself is setting_table.py. Called by runtime and cli.
Precedence: command line over environment over secret files in MATINEE_HOME over default.
Standard variable names where they exist, else MATINEE_*; an unknown MATINEE_* is an error, because a misspelt setting that is
silently ignored is found at night. Variables that Kubernetes or Docker injects are ignored (injected_variables.py).
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from matinee.addresses import bare
from matinee.errors import ConfigError
from matinee.injected_variables import PREFIX, injected, is_url
from matinee.machine import memory_bytes
from matinee.setting_table import LOCAL_HOSTS, SettingTable
from matinee.setting_urls import POSTGRES, sqlite_file
from matinee.setting_urls import without_password as without_password  # noqa: PLC0414  other rooms import it from here
from matinee.setting_values import AUTO, as_text, cleaned, folder

_LOCAL_SHARE = 0.1  # of the machine's memory, for the local caches of all its server processes together
_LEAST_LOCAL_BYTES, _MOST_LOCAL_BYTES = 16 * 2**20, 2 * 2**30  # of one process; beyond, the catalogue is in memory anyway
_COMPANIONS = ("", "-wal", "-shm", "-journal")  # the files that SQLite keeps beside a database
_MOST_CONNECTIONS = 4096  # of one process, unless it is set
_OWN_FILES = 512  # of one process: databases, caches, logs, the health listener
_CLIENT_RATE_PER_S, _KEY_RATE_PER_S = 100.0, 500.0  # in production; a process answers about 3,000 uncached reads a second


@dataclass(frozen=True)
class Config(SettingTable):
    """The settings of one process, and what follows from them."""

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
    def public_path(self) -> str:
        """Return the path of MATINEE_PUBLIC_URL, such as /films; empty when the service is at the root of its host."""
        return urlsplit(self.public_url).path

    @property
    def public_origin(self) -> str:
        """Return MATINEE_PUBLIC_URL without its path, as browsers send it in Origin."""
        return self.public_url.removesuffix(self.public_path)

    @property
    def serves_operators(self) -> bool:
        """Return whether the service's own listener answers /metrics and the details of /readyz."""
        return self.ops_public and self.ops_address == "off"

    @property
    def stuck_after_s(self) -> float:
        """Return how long the event loop may stand still; 0 is for ever. On SQLite one read may hold it until its deadline."""
        if not self.watchdog_s:
            return 0.0
        return max(self.watchdog_s, 1.0, 0.0 if self.on_postgres else 2 * self.read_timeout_ms / 1000)

    @property
    def open_to_all_hosts(self) -> bool:
        """Return whether any host name is answered: listening on all addresses, no names given, not in production."""
        return self.host in ("0.0.0.0", "::") and self.allowed_hosts == LOCAL_HOSTS and not self.production  # noqa: S104

    @property
    def restricts_hosts(self) -> bool:
        """Return whether the API answers named hosts only: in production, and when names are given."""
        return self.production or self.allowed_hosts != LOCAL_HOSTS

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
    if config.log_file and os.path.realpath(config.log_file) in map(os.path.realpath, own_files(config)):
        faults.append(f"MATINEE_LOG_FILE={config.log_file} belongs to the catalogue itself; choose another file")
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


def own_files(config: Config) -> list[Path]:
    """Return the files of the catalogue that nothing else may write: the secret key, SQLite's database and those beside it."""
    database = [] if config.on_postgres else [Path(f"{config.database_path}{end}") for end in _COMPANIONS]
    return [secret_path(config), *database]


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

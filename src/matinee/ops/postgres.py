"""One PostgreSQL instance on loopback: made, followed, started, signalled, ended. Called by cluster.py and by the tests.

PostgreSQL refuses to run as root, so a root runs it as another user, in a folder that this one can reach.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from matinee.errors import OperatorError
from matinee.ops.processes import Started, happens, require_free, run, start, tail
from matinee.ops.server_urls import postgres_url

OLDEST_VERSION = 15
START_WITHIN_S = 60.0  # after a crash what was not yet in the tables is replayed first
END_WITHIN_S = 30.0  # a clean end writes out what is in memory
ASK_WITHIN_S = 2.0  # one that is frozen takes connections for ever and never answers
# What a new server says while the one that was killed before it is not gone altogether.
_NOT_GONE_YET = ("lock file", "pre-existing shared memory")

# Each setting with its reason; what a setting leaves out is PostgreSQL's default.
SETTINGS = {
    "listen_addresses": ("'127.0.0.1'", "loopback only"),
    "unix_socket_directories": ("''", "no socket files: a folder's path may be too long for one"),
    "max_connections": ("200", "pools of several servers, see `matinee doctor`"),
    "wal_level": ("replica", "followers stream it"),
    "max_wal_senders": ("10", "one for each follower, and for base backups"),
    "max_replication_slots": ("10", "one for each follower: what it has not received yet is kept"),
    "max_slot_wal_keep_size": ("'1GB'", "finite: a follower that never comes back must not fill the leader's disk"),
    "wal_keep_size": ("'64MB'", "a short absence costs no new base backup"),
    "hot_standby": ("on", "followers answer reads"),
    "hot_standby_feedback": ("on", "the leader keeps rows that a read of a follower still needs"),
    "max_standby_streaming_delay": ("'1s'", "longer, and one slow read holds back everything that is replayed"),
    "wal_receiver_status_interval": ("'1s'", "the leader knows each follower's place to the second"),
    "wal_sender_timeout": ("'5s'", "a follower that is gone is noticed"),
    "wal_receiver_timeout": ("'5s'", "a leader that is gone is noticed"),
    "tcp_keepalives_idle": ("'5s'", "half-open connections end: asked after 5 s of silence,"),
    "tcp_keepalives_interval": ("'2s'", "every 2 s,"),
    "tcp_keepalives_count": ("3", "three times"),
    "log_line_prefix": ("'%m [%p] %a '", "when, which process, which of our sessions"),
}
FOR_TESTS = {
    "fsync": ("off", "a test's data may be lost with the machine"),
    "full_page_writes": ("off", "the same"),
    "shared_buffers": ("'32MB'", "many tests at once"),
    "autovacuum": ("off", "plans must not change in the middle of a test"),
}


@dataclass
class PostgresNode:
    """An instance in a folder. `process` is the one that runs, None before it was started.

    `authorities` is the file of the CAs that its certificate is verified with; None when it has no certificate.
    """

    name: str
    folder: Path
    port: int
    password: str
    settings: Mapping[str, tuple[str, str]] = field(default_factory=lambda: SETTINGS)
    process: Started | None = None
    authorities: Path | None = None

    @property
    def slot(self) -> str:
        """Return the name that a follower has on its leader: of its replication slot, and of its session there."""
        return re.sub(r"\W", "_", self.name.lower())

    @property
    def data(self) -> Path:
        """Return the instance's own folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """Return the instance's log."""
        return self.folder / "postgres.log"

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """Return the address of a database on this instance."""
        secret = self.password if password is None else password
        return postgres_url(user, secret, f"127.0.0.1:{self.port}", database, self.authorities)

    def create(self) -> None:
        """Make an empty instance. Raises: OperatorError."""
        self.make_folder()
        with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix="pw") as file:
            file.write(self.password)
            file.flush()
            own(Path(file.name))
            options = ["--username=postgres", f"--pwfile={file.name}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            run([program("initdb"), "-D", str(self.data), *options, *self._unsynced()], server_user(), environment())
        self._configure()

    def follow(self, leader: PostgresNode) -> None:
        """Make a streaming follower of a running leader, with a slot of its own there. Raises: OperatorError."""
        self.make_folder()
        # Left by a base backup that was broken off, or by the follower that this one takes the place of.
        leader.ask(f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{self.slot}'")
        source = f"host=127.0.0.1 port={leader.port} user=postgres application_name={self.slot}"
        options = ["-R", "-X", "stream", "-C", "-S", self.slot, "--checkpoint=fast", *self._unsynced()]
        command = [program("pg_basebackup"), "-d", source, "-D", str(self.data), *options]
        run(command, server_user(), environment(PGPASSWORD=leader.password))
        self._configure()

    def _unsynced(self) -> list[str]:
        return ["--no-sync"] if self.settings.get("fsync", ("on",))[0] == "off" else []

    def ask(self, statement: str, database: str = "postgres", within_s: float = ASK_WITHIN_S) -> str:
        """Return what a statement of the superuser answers. Raises: OperatorError, also when there is no answer in time."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]
        # The statement is typed, not an argument: everybody may read the arguments of a process, and it may hold a password.
        command = [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *where]
        verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.authorities)} if self.authorities else {}
        told = environment(PGPASSWORD=self.password, **verified)
        return run(command, environment=told, typed=statement, within_s=within_s).strip()

    def start(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start the instance and wait until it takes connections. Raises: OperatorError.

        `keep` is called as soon as there is a process: whoever writes down what runs must not miss one that is slow to start.
        """
        if self.process is not None:
            happens(lambda: self.state() == "dead", 5.0)  # killed a moment ago, it still holds its lock file
        if not happens(lambda: self._starts(keep), START_WITHIN_S):
            self._refuse()

    def _starts(self, keep: Callable[[], None]) -> bool:
        """Start the instance; return whether it runs, and false where another attempt may do better. Raises: OperatorError."""
        require_free(self.name, self.port)
        before = self.log.stat().st_size if self.log.exists() else 0
        command = [program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        self.process = process = start(command, self.log, environment(), server_user())
        keep()
        happens(lambda: self.is_ready() or process.state() == "dead", START_WITHIN_S)
        if process.state() != "dead":
            return self.is_ready()
        said = self.log.read_bytes()[before:].decode(errors="replace")
        return False if any(words in said for words in _NOT_GONE_YET) else self._refuse()

    def _refuse(self) -> NoReturn:
        raise OperatorError(f"PostgreSQL {self.name} did not start; the end of {self.log}:\n{tail(self.log)}")

    def is_ready(self) -> bool:
        """Return whether the instance takes connections."""
        try:
            run([program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "2"], environment=environment())
        except OperatorError:
            return False
        return True

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.process.state() if self.process else "dead"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the instance and all its sessions."""
        if self.process is not None:
            self.process.send(number)

    def end(self) -> None:
        """End the instance; sessions are cut (PostgreSQL's fast shutdown)."""
        if self.process is not None:
            self.process.end(signal.SIGINT, END_WITHIN_S)

    def delete(self) -> None:
        """End the instance and delete everything that it holds."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_folder(self) -> None:
        """Make the instance's folder and its log, for the server's user."""
        make_passable(self.folder)
        self.log.touch(mode=0o600)
        own(self.folder)
        own(self.log)

    def _configure(self) -> None:
        settings = {**self.settings, **_statistics()}
        lines = [f"{name} = {value}  # {reason}" for name, (value, reason) in settings.items()]
        included = self.data / "matinee.conf"
        included.write_text(
            "\n".join(["# Written by Matinee; change postgresql.auto.conf or add a file, not this one.", *lines, ""])
        )
        own(included)
        main = self.data / "postgresql.conf"
        if "matinee.conf" not in main.read_text(encoding="utf-8"):
            with main.open("a") as file:
                file.write("include = 'matinee.conf'\n")


def make_passable(path: Path) -> None:
    """Make a folder and those above it that are missing, which the server's user may pass through, whatever the umask."""
    for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        folder.mkdir()
        folder.chmod(0o711)


def program(name: str, version: int | None = None) -> str:
    """Return the path of one of PostgreSQL's programs, of the newest version if none is said.

    Raises: OperatorError when it is not installed, or none new enough.
    """
    folders = {
        int(path.parts[-3]): path for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb") if path.parts[-3].isdigit()
    }
    wanted = version or max(folders, default=0)
    if wanted in folders and wanted >= OLDEST_VERSION:
        return str(folders[wanted].with_name(name))
    found = shutil.which(name)
    if found is None or (version and folders):
        needed = f"PostgreSQL {version}" if version else f"PostgreSQL {OLDEST_VERSION} or newer"
        raise OperatorError(f"{needed} is not installed. On Debian: apt install postgresql{f'-{version}' if version else ''}")
    return found


def require_installed() -> None:
    """Refuse a machine without PostgreSQL, or without a user that it can run as. Raises: OperatorError."""
    for name in ("initdb", "postgres", "pg_basebackup", "pg_isready", "psql"):
        program(name)
    server_user()


def server_user() -> str | None:
    """Return the user that PostgreSQL runs as: its own one for root, this one else. Raises: OperatorError."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise OperatorError("PostgreSQL does not run as root, and there is no user postgres: apt install postgresql") from error


def reachable_folder(wished: Path) -> Path:
    """Return a folder for data that the server's user can reach: the wished one, else one of the system's."""
    if reachable(wished):
        return wished
    # The digest tells /a/b-c from /a-b/c.
    digest = hashlib.sha256(str(wished).encode()).hexdigest()[:8]
    return Path("/var/lib/matinee") / f"{str(wished).strip('/').replace('/', '-')[-80:]}-{digest}"


def reachable(path: Path) -> bool:
    """Return whether the server's user can get to a path, as far as it exists already."""
    parents = [parent for parent in (path, *path.parents) if parent.exists()]
    return server_user() is None or all(parent.stat().st_mode & 0o001 for parent in parents)


def environment(**more: str) -> dict[str, str]:
    """Return what PostgreSQL's programs are run with: none of the PG* variables, which would lead them to another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"PGCONNECT_TIMEOUT": "2", "PGCLIENTENCODING": "UTF8", "LC_ALL": "C"} | more


def _statistics() -> dict[str, tuple[str, str]]:
    """Return the setting that counts statements, where the extension is installed."""
    if not (Path(program("initdb")).resolve().parents[1] / "lib" / "pg_stat_statements.so").exists():
        return {}
    return {"shared_preload_libraries": ("'pg_stat_statements'", "which statements take the time")}


def own(path: Path) -> None:
    """Give a file or folder to the user that PostgreSQL runs as."""
    user = server_user()
    if user is not None:
        found = pwd.getpwnam(user)
        os.chown(path, found.pw_uid, found.pw_gid)

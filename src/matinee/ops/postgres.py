"""One PostgreSQL instance on loopback: made, followed, started, signalled, ended. Called by cluster.py and by the tests.

PostgreSQL refuses to run as root, so a root runs it as another user, in a folder that this one can reach.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from matinee.errors import OperatorError
from matinee.ops.processes import Started, happens, run, start, tail

OLDEST_VERSION = 15
START_WITHIN_S = 30.0

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
    "tcp_keepalives_idle": ("'5s'", "half-open connections end"),
    "log_line_prefix": ("'%m [%p] %a '", "when, which process, which of our sessions"),
}
FOR_TESTS = {
    "fsync": ("off", "a test's data may be lost with the machine"),
    "synchronous_commit": ("off", "the same; never for a catalogue: it delays what followers see"),
    "full_page_writes": ("off", "the same"),
    "shared_buffers": ("'32MB'", "many tests at once"),
    "autovacuum": ("off", "plans must not change in the middle of a test"),
}


@dataclass
class PostgresNode:
    """An instance in a folder. `process` is the one that runs, None before it was started."""

    name: str
    folder: Path
    port: int
    password: str
    settings: Mapping[str, tuple[str, str]] = field(default_factory=lambda: SETTINGS)
    process: Started | None = None

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
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make an empty instance. Raises: OperatorError."""
        self._make_folder()
        with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix="pw") as file:
            file.write(self.password)
            file.flush()
            _own(Path(file.name))
            options = ["--username=postgres", f"--pwfile={file.name}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            run([program("initdb"), "-D", str(self.data), "--no-sync", *options], server_user())
        self._configure()

    def follow(self, leader: PostgresNode) -> None:
        """Make a streaming follower of a running leader, with a slot of its own there. Raises: OperatorError."""
        self._make_folder()
        slot = re.sub(r"\W", "_", self.name)
        options = ["-R", "-X", "stream", "-C", "-S", slot, "--checkpoint=fast", "--no-sync"]
        source = f"{leader.url()}?application_name={slot}"
        run([program("pg_basebackup"), "-d", source, "-D", str(self.data), *options], server_user())
        self._configure()

    def start(self) -> None:
        """Start the instance and wait until it takes connections. Raises: OperatorError."""
        command = [program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        if self.process is not None:
            happens(lambda: self.state() == "dead", 5.0)  # killed a moment ago, it still holds its lock file
        if not happens(lambda: self._starts(command), START_WITHIN_S):
            raise OperatorError(f"PostgreSQL {self.name} did not start; the end of {self.log}:\n{tail(self.log)}")

    def _starts(self, command: list[str]) -> bool:
        self.process = process = start(command, self.log, user=server_user())
        happens(lambda: self.is_ready() or process.state() == "dead", START_WITHIN_S)
        return process.state() == "running"

    def is_ready(self) -> bool:
        """Return whether the instance takes connections."""
        return _exits_well([program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "2"])

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
            self.process.end(signal.SIGINT)

    def delete(self) -> None:
        """End the instance and delete everything that it holds."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        _own(self.folder)
        _own(self.log)

    def _configure(self) -> None:
        lines = [f"{name} = {value}  # {reason}" for name, (value, reason) in self.settings.items()]
        included = self.data / "matinee.conf"
        included.write_text(
            "\n".join(["# Written by Matinee; change postgresql.auto.conf or add a file, not this one.", *lines, ""])
        )
        _own(included)
        main = self.data / "postgresql.conf"
        if "matinee.conf" not in main.read_text():
            with main.open("a") as file:
                file.write("include = 'matinee.conf'\n")


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs. Raises: OperatorError when none new enough is installed."""
    folders = {
        int(path.parts[-3]): path for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb") if path.parts[-3].isdigit()
    }
    newest = max(folders, default=0)
    if newest >= OLDEST_VERSION:
        return str(folders[newest].with_name(name))
    found = shutil.which(name)
    if found is None:
        raise OperatorError(f"PostgreSQL {OLDEST_VERSION} or newer is not installed. On Debian: apt install postgresql")
    return found


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
    user = server_user()
    parents = [parent for parent in (wished, *wished.parents) if parent.exists()]
    if user is None or all(parent.stat().st_mode & 0o001 for parent in parents):
        return wished
    return Path("/var/lib/matinee") / str(wished).strip("/").replace("/", "-")


def _own(path: Path) -> None:
    user = server_user()
    if user is not None:
        found = pwd.getpwnam(user)
        os.chown(path, found.pw_uid, found.pw_gid)


def _exits_well(command: list[str]) -> bool:
    try:
        run(command)
    except OperatorError:
        return False
    return True

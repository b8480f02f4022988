"""A real PgBouncer for the tests, in transaction mode: it lends a few sessions of PostgreSQL to many clients."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from matinee.ops.postgres import environment, server_user
from matinee.ops.processes import Started, free_port, start, tail
from tests.processes import eventually

# Debian puts it where only root's PATH leads to.
PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
CONSOLE = "pgbouncer"  # the database in which PgBouncer tells of itself


@dataclass
class PgBouncer:
    """A running PgBouncer; `users` are those of the databases behind it, with their passwords."""

    port: int
    log: Path
    process: Started
    users: Mapping[str, tuple[str, str]]

    def url(self, database: str) -> str:
        """Return the address of a database behind it."""
        user, password = self.users[database]
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def show(self, what: str) -> list[dict[str, Any]]:
        """Return what its console shows of something, as "clients" or "servers", but for the console itself."""
        console = self.url(next(iter(self.users))).rpartition("/")[0] + f"/{CONSOLE}"
        with psycopg.connect(console, autocommit=True, row_factory=dict_row) as session:
            return [row for row in session.execute(f"SHOW {what}").fetchall() if row["database"] != CONSOLE]


@contextmanager
def transaction_mode(direct: Mapping[str, str], sessions: int) -> Iterator[PgBouncer]:
    """Run a PgBouncer in front of databases, given by name with their direct URLs; each has so many sessions."""
    assert PROGRAM, "there is no pgbouncer; run scripts/test, which installs it"
    # As another user when this is root, and so not under the tests' own folder.
    folder = Path(tempfile.mkdtemp(prefix="matinee-pgbouncer-"))
    folder.chmod(0o755)
    try:
        port, log = free_port(), folder / "pgbouncer.log"
        stated = {name: conninfo_to_dict(url) for name, url in direct.items()}
        users = {name: (str(part["user"]), str(part["password"])) for name, part in stated.items()}
        (folder / "users.txt").write_text("".join(f'"{user}" "{password}"\n' for user, password in set(users.values())))
        (folder / "pgbouncer.ini").write_text(_settings(stated, port, folder, sessions))
        for path in folder.iterdir():
            path.chmod(0o644)  # whatever the umask
        process = start([PROGRAM, str(folder / "pgbouncer.ini")], log, environment(), server_user())
        try:
            bouncer = PgBouncer(port, log, process, users)
            eventually(lambda: _answers(bouncer) or process.state() == "dead", bool)
            assert process.state() != "dead", tail(log)
            yield bouncer
        finally:
            process.end()
    finally:
        shutil.rmtree(folder)


def _settings(stated: Mapping[str, Mapping[str, Any]], port: int, folder: Path, sessions: int) -> str:
    databases = [f"{name} = host={part['host']} port={part['port']} dbname={part['dbname']}" for name, part in stated.items()]
    own = {
        "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "pool_mode": "transaction",
        "default_pool_size": sessions, "server_login_retry": 1, "auth_type": "scram-sha-256", "auth_file": folder / "users.txt",
        "admin_users": ", ".join(sorted({part["user"] for part in stated.values()})),
    }  # fmt: skip
    return "\n".join(["[databases]", *databases, "[pgbouncer]", *(f"{name} = {value}" for name, value in own.items()), ""])


def _answers(bouncer: PgBouncer) -> bool:
    try:
        bouncer.show("clients")
    except psycopg.OperationalError:
        return False
    return True

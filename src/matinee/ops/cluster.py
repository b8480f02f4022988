"""A cluster on loopback: PostgreSQL's leader and followers and the servers that read from them, as one state file.

Called by cli/cluster.py. Commands follow one another in processes of their own, so everything that one must know of what
another started stands in the state file: names, ports, passwords, and each process by its id and the moment it was started.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import secrets
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from matinee.errors import OperatorError
from matinee.ops.postgres import PostgresNode, reachable_folder
from matinee.ops.processes import Started, free_port, happens, start, tail

DATABASE = "matinee"
ROLES = ("matinee_writer", "matinee_reader")
_SERVER_READY_S = 60.0
_ANSWER_WITHIN_S = 2.0


@dataclass
class ServerNode:
    """A server of ours: its command and environment, and the process that runs it."""

    name: str
    port: int
    log: Path
    command: list[str]
    environment: dict[str, str]
    process: Started | None = None
    role: str = "server"

    @property
    def address(self) -> str:
        """Return the server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises: OperatorError."""
        self.process = process = start(self.command, self.log, os.environ | self.environment)
        happens(lambda: self.readiness() is not None or process.state() == "dead", _SERVER_READY_S)
        if self.readiness() is None:
            raise OperatorError(f"{self.name} is not ready; the end of {self.log}:\n{tail(self.log)}")

    def readiness(self) -> dict[str, Any] | None:
        """Return what /readyz says while it says that requests may come; None otherwise."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=_ANSWER_WITHIN_S) as answer:  # noqa: S310  our own
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, urllib.error.HTTPError, ValueError):
            return None

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.process.state() if self.process else "dead"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and its workers."""
        if self.process is not None:
            self.process.send(number)

    def end(self) -> None:
        """End the server; it finishes what it has."""
        if self.process is not None:
            self.process.end(within_s=35.0)


@dataclass
class DatabaseNode:
    """An instance of PostgreSQL with its role in the cluster."""

    postgres: PostgresNode
    role: str

    @property
    def name(self) -> str:
        """Return the node's name."""
        return self.postgres.name

    @property
    def port(self) -> int:
        """Return the port that the instance listens on."""
        return self.postgres.port

    @property
    def process(self) -> Started | None:
        """Return the process that runs."""
        return self.postgres.process

    @property
    def log(self) -> Path:
        """Return the instance's log."""
        return self.postgres.log

    @property
    def address(self) -> str:
        """Return where the instance listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the instance. Raises: OperatorError."""
        self.postgres.start()

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.postgres.state()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the instance and its sessions."""
        self.postgres.send(number)

    def end(self) -> None:
        """End the instance."""
        self.postgres.end()


Node = ServerNode | DatabaseNode


@dataclass
class Cluster:
    """The nodes and passwords of one cluster, as they stand in its state file."""

    home: Path
    data: Path
    passwords: dict[str, str]
    databases: list[DatabaseNode] = field(default_factory=list)
    servers: list[ServerNode] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """Return all nodes, those first that the others need."""
        return [*self.databases, *self.servers]

    @property
    def leader(self) -> DatabaseNode:
        """Return the leader. Raises: OperatorError when there is none yet."""
        for node in self.databases:
            if node.role == "leader":
                return node
        raise OperatorError("This cluster has no leader; make one with `matinee cluster up`.")

    @property
    def followers(self) -> list[DatabaseNode]:
        """Return the followers."""
        return [node for node in self.databases if node.role == "follower"]

    def node(self, name: str) -> Node:
        """Return a node by name. Raises: OperatorError with the names that there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = [node.name for node in self.nodes]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names) or 'none'}."
        raise OperatorError(f"There is no node {name!r}; {hint}")

    def writer_url(self) -> str:
        """Return the leader's address for the role that writes."""
        return self.leader.postgres.url(DATABASE, "matinee_writer", self.passwords["matinee_writer"])

    def owner_url(self) -> str:
        """Return the leader's address for the owner, who migrates."""
        return self.leader.postgres.url(DATABASE)

    def reader_urls(self) -> list[str]:
        """Return the followers' addresses for the role that cannot write."""
        return [node.postgres.url(DATABASE, "matinee_reader", self.passwords["matinee_reader"]) for node in self.followers]

    def add_leader(self) -> None:
        """Make the leader and start it, with an empty database of ours."""
        self._add("leader", "leader").postgres.create()
        self.leader.start()
        self.save()
        with _connect(self.leader.postgres.url()) as session:
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def set_passwords(self) -> None:
        """Give the roles, which a migration has made, the passwords of this cluster."""
        with _connect(self.owner_url()) as session:
            for role in ROLES:
                change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(self.passwords[role]))
                session.execute(change)

    def is_empty(self) -> bool:
        """Return whether the catalogue has no movie."""
        with _connect(self.owner_url()) as session:
            row = session.execute("SELECT NOT EXISTS (SELECT 1 FROM movie_document)").fetchone()
        return bool(row and row[0])

    def add_follower(self) -> None:
        """Make a streaming follower and start it."""
        node = self._add(f"follower-{len(self.followers) + 1}", "follower")
        node.postgres.follow(self.leader.postgres)
        node.start()
        self.save()

    def add_server(self, command: list[str], environment: dict[str, str], port: int | None) -> None:
        """Start a server on a port, a free one when none is said."""
        name, chosen = f"server-{len(self.servers) + 1}", port or free_port()
        log = self.home / f"{name}.log"
        self.servers.append(ServerNode(name, chosen, log, [*command, "--port", str(chosen)], environment))
        self.servers[-1].start()
        self.save()

    def _add(self, name: str, role: str) -> DatabaseNode:
        password = self.passwords["postgres"]
        node = DatabaseNode(PostgresNode(name, self.data / name, free_port(), password), role)
        self.databases.append(node)
        return node

    def end(self) -> None:
        """End everything, the servers first."""
        for node in reversed(self.nodes):
            node.end()
        self.save()

    def delete(self) -> None:
        """End everything and delete all that the cluster has written."""
        self.end()
        for node in self.databases:
            node.postgres.delete()
        for path in self.home.glob("*"):
            path.unlink()

    def save(self) -> None:
        """Write the state file, whole or not at all."""
        state = {
            "data": str(self.data),
            "passwords": self.passwords,
            "databases": [
                {"name": node.name, "role": node.role, "port": node.port, "process": _plain(node.process)}
                for node in self.databases
            ],
            "servers": [
                {
                    "name": node.name,
                    "port": node.port,
                    "command": node.command,
                    "environment": node.environment,
                    "process": _plain(node.process),
                }
                for node in self.servers
            ],
        }
        draft = self.home / f".state.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds passwords
        with os.fdopen(descriptor, "w") as file:
            json.dump(state, file, indent=1)
        draft.replace(_state_path(self.home))


def new(home: Path) -> Cluster:
    """Return a cluster without nodes, with passwords of its own."""
    passwords = {role: secrets.token_urlsafe(24) for role in ("postgres", *ROLES)}
    return Cluster(home, reachable_folder(home), passwords)


def load(home: Path) -> Cluster | None:
    """Return the cluster of a folder as its state file says; None when none was made. Raises: OperatorError."""
    try:
        state = json.loads(_state_path(home).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{_state_path(home)} cannot be read ({error}); `matinee cluster down` cannot end what it names."
        ) from error
    cluster = Cluster(home, Path(state["data"]), state["passwords"])
    for item in state["databases"]:
        name, port = item["name"], item["port"]
        node = PostgresNode(name, cluster.data / name, port, cluster.passwords["postgres"], process=_started(item["process"]))
        cluster.databases.append(DatabaseNode(node, item["role"]))
    for item in state["servers"]:
        process = _started(item.pop("process"))
        cluster.servers.append(ServerNode(log=home / f"{item['name']}.log", process=process, **item))
    return cluster


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Refuse to work on a cluster that another command works on. Raises: OperatorError."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OperatorError("Another `matinee cluster` command works on this cluster; wait for it.") from error
        yield


def replication(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return what each running instance says: its position, and as the leader sees it, each follower's lag. Raises nothing."""
    found: dict[str, dict[str, Any]] = {}
    for node in cluster.databases:
        if node.state() != "running":
            continue
        try:
            with _connect(node.postgres.url(DATABASE)) as session:
                row = session.execute("SELECT position FROM log_head").fetchone()
                found.setdefault(node.name, {})["position"] = row[0] if row else None
                lags = session.execute(_LAGS).fetchall() if node.role == "leader" else []
        except psycopg.Error as error:
            found[node.name] = {"error": " ".join(str(error).split())[:120]}
            continue
        for name, lag_bytes, lag_s in lags:
            found.setdefault(name.replace("_", "-"), {}).update(lag_bytes=lag_bytes, lag_s=lag_s)
    return found


_LAGS = """
    SELECT application_name, (pg_current_wal_lsn() - replay_lsn)::bigint, coalesce(extract(epoch FROM replay_lag), 0)::float
    FROM pg_stat_replication WHERE state = 'streaming'
"""


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, connect_timeout=2, options="-c statement_timeout=2000")


def _state_path(home: Path) -> Path:
    return home / "cluster.json"


def _plain(process: Started | None) -> list[int] | None:
    return None if process is None else [process.pid, process.tick]


def _started(plain: list[int] | None) -> Started | None:
    return None if plain is None else Started(*plain)

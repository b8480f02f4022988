"""A cluster on loopback: PostgreSQL's leader and followers and the servers that read from them.

Called by cli/cluster.py. Invariant: the state file (cluster_file.py) knows of a process before it is waited for, and of a
folder before anything is written there, so that whatever breaks off, the next command finds it.
"""

from __future__ import annotations

import contextlib
import difflib
import secrets
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from matinee.errors import OperatorError
from matinee.ops.postgres import PostgresNode, reachable_folder
from matinee.ops.processes import Started, free_port
from matinee.ops.service import ServerNode

DATABASE = "matinee"
ROLES = ("matinee_writer", "matinee_reader")
_CHANGE_WITHIN_S = 30.0  # a new database is a copy of files


@dataclass
class DatabaseNode:
    """An instance of PostgreSQL with its role in the cluster. One that is not `is_made` holds half of something."""

    postgres: PostgresNode
    role: str
    is_made: bool = True

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

    def start(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start the instance; `keep` is called when it is a process. Raises: OperatorError."""
        self.postgres.start(keep)

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.postgres.state()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the instance and its sessions."""
        self.postgres.send(number)

    def end(self) -> None:
        """End the instance."""
        self.postgres.end()


# A further kind of node needs what these two have in common, and its lines in cluster_file.py.
Node = ServerNode | DatabaseNode


@dataclass
class Cluster:
    """The nodes and passwords of one cluster, and how many of each were wanted.

    `started` are the nodes that this command has started, `added` the servers that there were not before; neither is kept.
    """

    home: Path
    data: Path
    passwords: dict[str, str]
    databases: list[DatabaseNode] = field(default_factory=list)
    servers: list[ServerNode] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)
    sample_is_loading: bool = False
    started: list[Node] = field(default_factory=list)
    added: list[ServerNode] = field(default_factory=list)
    keep: Callable[[Cluster], None] = lambda _: None

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
        names = [node.name for node in self.nodes]
        if name in names:
            return self.nodes[names.index(name)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? The" if near else "the"
        raise OperatorError(f"There is no node {name!r}; {hint} nodes are {', '.join(names) or 'none'}.")

    def save(self) -> None:
        """Write the state file."""
        self.keep(self)

    def writer_url(self) -> str:
        """Return the leader's address for the role that writes."""
        return self.leader.postgres.url(DATABASE, "matinee_writer", self.passwords["matinee_writer"])

    def owner_url(self, node: DatabaseNode | None = None) -> str:
        """Return an instance's address, the leader's if none is said, for the owner, who migrates."""
        return (node or self.leader).postgres.url(DATABASE)

    def reader_url(self, node: DatabaseNode) -> str:
        """Return an instance's address for the role that cannot write."""
        return node.postgres.url(DATABASE, "matinee_reader", self.passwords["matinee_reader"])

    def start(self, node: Node) -> None:
        """Start a node. Raises: OperatorError."""
        self.started.append(node)
        node.start(self.save)
        self.save()

    def add_leader(self) -> None:
        """Make the leader and start it, with an empty database of ours. Raises: OperatorError."""
        node = self._add("leader", "leader")
        node.postgres.create()
        self.start(node)
        node.postgres.ask(f"CREATE DATABASE {DATABASE}", within_s=_CHANGE_WITHIN_S)
        self._is_made(node)

    def set_passwords(self) -> None:
        """Give the roles, which a migration has made, the passwords of this cluster. Raises: OperatorError."""
        # The passwords are of letters, digits, - and _: new() made them.
        statements = [f"ALTER ROLE {role} PASSWORD '{self.passwords[role]}';" for role in ROLES]
        self.leader.postgres.ask("\n".join(statements))

    def count_statements(self) -> None:
        """Let the leader count statements, where the extension is installed; the followers get its view with the rest."""
        with contextlib.suppress(OperatorError):
            self.leader.postgres.ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", DATABASE)

    def is_empty(self) -> bool:
        """Return whether the catalogue has no movie. Raises: OperatorError."""
        return self.leader.postgres.ask("SELECT NOT EXISTS (SELECT 1 FROM movie_document)", DATABASE) == "t"

    def add_follower(self) -> None:
        """Make a streaming follower and start it. Raises: OperatorError."""
        self._make_follower(self._add(f"follower-{len(self.followers) + 1}", "follower"))

    def rebuild(self, node: DatabaseNode) -> None:
        """Make a follower anew from the leader. Raises: OperatorError."""
        node.postgres.delete()
        node.is_made = False
        self.save()
        self._make_follower(node)

    def _make_follower(self, node: DatabaseNode) -> None:
        node.postgres.follow(self.leader.postgres)
        self.start(node)
        self._is_made(node)

    def add_server(self, command: list[str], environment: dict[str, str], port: int | None) -> None:
        """Start a server on a port, a free one when none is said. Raises: OperatorError."""
        name, chosen = f"server-{len(self.servers) + 1}", port or self._free_port()
        log = self.home / f"{name}.log"
        server = ServerNode(name, chosen, log, [*command, "--port", str(chosen)], environment)
        self.servers.append(server)
        self.added.append(server)
        self.start(server)

    def _add(self, name: str, role: str) -> DatabaseNode:
        password = self.passwords["postgres"]
        node = DatabaseNode(PostgresNode(name, self.data / name, self._free_port(), password), role, is_made=False)
        self.databases.append(node)
        self.save()
        return node

    def _is_made(self, node: DatabaseNode) -> None:
        node.is_made = True
        self.save()

    def _free_port(self) -> int:
        return free_port([node.port for node in self.nodes])

    def drop_unmade(self) -> list[str]:
        """Delete the instances whose making broke off, to be made again, and return their names."""
        unmade = [node for node in self.databases if not node.is_made]
        for node in unmade:
            node.postgres.delete()
        self.databases = [node for node in self.databases if node.is_made]
        self.save()
        return [node.name for node in unmade]

    def undo(self) -> None:
        """End what this command has started, and forget the servers that it has added: their ports may have been the fault."""
        for node in reversed(self.started):
            node.end()
        self.servers = [node for node in self.servers if node not in self.added]
        self.save()

    def end(self) -> None:
        """End everything, the servers first. Raises: OperatorError when a process does not even end by kill -9."""
        for node in reversed(self.nodes):
            node.end()
            if node.process is not None and node.state() != "dead":
                raise OperatorError(f"{node.name} (process {node.process.pid}) does not end; see {node.log}, then try again.")
        self.save()

    def delete(self) -> None:
        """End everything and delete all that the cluster has written."""
        self.end()
        for node in self.databases:
            node.postgres.delete()
        if self.data != self.home:
            with contextlib.suppress(OSError):
                self.data.rmdir()  # it was made for these instances; if anything else lies in it, it stays
        shutil.rmtree(self.home)


def new(home: Path, keep: Callable[[Cluster], None]) -> Cluster:
    """Return a cluster without nodes, with passwords of its own."""
    passwords = {role: secrets.token_urlsafe(24) for role in ("postgres", *ROLES)}
    return Cluster(home, reachable_folder(home), passwords, keep=keep)

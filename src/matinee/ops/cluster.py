"""A cluster on loopback: PostgreSQL's leader and followers, the servers that read from them, and the engines around them.

Called by cli/cluster.py. What runs is a topology that was rendered (rendering.py), with ports of this machine. Invariant: the
state file (cluster_file.py) knows of a process before it is waited for, and of a folder before anything is written there, so
that whatever breaks off, the next command finds it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from matinee.errors import OperatorError
from matinee.ops import engines, node_config, node_names, patroni, rendering, server_urls, socket_folder
from matinee.ops.database_node import DatabaseNode
from matinee.ops.engines import EngineNode
from matinee.ops.host_secrets import PATRONI_PASSWORDS
from matinee.ops.layout import Local, Tls
from matinee.ops.patroni import PatroniNode
from matinee.ops.postgres import PostgresNode, make_passable, own, program, reachable_folder
from matinee.ops.processes import free_port, happens
from matinee.ops.service import ServerNode
from matinee.ops.topology import Place, Topology, local_sizes, ports_of

DATABASE = "matinee"
ROLES = ("matinee_writer", "matinee_reader")
HOST = "127.0.0.1"
_LEADS_WITHIN_S = 40.0  # a leader whose node is gone is replaced when its lease of 20 s has run out
_CHANGE_WITHIN_S = 30.0  # a new database is a copy of files


# A further kind of node needs what these have in common, and its lines in cluster_file.py.
Node = ServerNode | DatabaseNode | EngineNode


@dataclass
class Shape:
    """What kind of cluster it is; `settings` are more variables of the servers.

    `tls` is chosen when the cluster is made: nodes that run cannot change it one by one.
    """

    balancer: str = ""
    balance: str = "least-connections"
    micro_cache: bool = False
    high_availability: bool = False
    tls: bool = False
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Cluster:
    """The nodes and passwords of one cluster, its shape, and how many of each were wanted.

    `started` are the nodes that this command has started, `added` the servers that there were not before; neither is kept.
    """

    home: Path
    data: Path
    passwords: dict[str, str]
    databases: list[DatabaseNode] = field(default_factory=list)
    servers: list[ServerNode] = field(default_factory=list)
    engines: list[EngineNode] = field(default_factory=list)
    shape: Shape = field(default_factory=Shape)
    drained: set[str] = field(default_factory=set)
    wanted: dict[str, int] = field(default_factory=dict)
    sample_is_loading: bool = False
    started: list[Node] = field(default_factory=list)
    added: list[ServerNode] = field(default_factory=list)
    keep: Callable[[Cluster], None] = lambda _: None

    @property
    def nodes(self) -> list[Node]:
        """Return all nodes, those first that the others need."""
        first = [node for node in self.engines if node.role in {"etcd", "redis"}]
        last = [node for node in self.engines if node.role == "balancer"]
        front = [node for node in self.engines if node.role == "front"]
        return [*first, *self.databases, *front, *self.servers, *last]

    @property
    def leader(self) -> DatabaseNode:
        """Return the leader. Raises: OperatorError when there is none yet, or none right now."""
        for node in self.databases:
            if node.role == "leader":
                return node
        remedy = "see `matinee cluster status`" if self.shape.high_availability else "make one with `matinee cluster up`"
        raise OperatorError(f"This cluster has no leader; {remedy}.")

    def engine(self, role: str) -> EngineNode | None:
        """Return the first engine of a role, None when there is none."""
        return next((node for node in self.engines if node.role == role), None)

    @property
    def followers(self) -> list[DatabaseNode]:
        """Return the followers."""
        return [node for node in self.databases if node.role == "follower"]

    def node(self, name: str, *, is_any: bool = False) -> Node:
        """Return a node by its name or role, "leader" is the current leader; `is_any`: any one of a role with several.

        Raises: OperatorError with the names that exist.
        """
        return self.leader if name == "leader" else node_names.find(self.nodes, name, is_any=is_any)

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

    def look_who_leads(self) -> None:
        """Ask each Patroni whether it leads; without Patroni the roles stay as they are. Takes a second at most."""
        managed = [node for node in self.databases if isinstance(node.postgres, PatroniNode)]
        if not managed:
            return
        with ThreadPoolExecutor(len(managed)) as threads:
            leads = list(threads.map(lambda node: node.postgres.leads(), managed))
        for node, is_leader in zip(managed, leads, strict=True):
            node.role = "leader" if is_leader else "follower"

    def wait_for_leader(self) -> DatabaseNode:
        """Return the leader as soon as there is one. Raises: OperatorError when nobody leads in time."""

        def is_there() -> bool:
            self.look_who_leads()
            return any(node.role == "leader" for node in self.databases)

        happens(is_there, _LEADS_WITHIN_S)
        return self.leader

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

    def add_engine(self, role: str, port: int | None = None) -> EngineNode:
        """Make an engine of a role, without starting it; the ports are free ones, but for its main one if that is said."""
        count = sum(node.role == role for node in self.engines)
        name = f"{role}-{count + 1}" if role == "etcd" else role
        ports = {key: self._free_port() for key in ports_of(role)}
        if port is not None:
            ports["port"] = port
        node = EngineNode(Place(name, role, "local", HOST, ports), [], self.home / f"{name}.log")
        self.engines.append(node)
        self.save()
        return node

    def add_member(self) -> DatabaseNode:
        """Make a node of PostgreSQL under Patroni, without starting it."""
        name = f"database-{len(self.databases) + 1}"
        folder, password = self.data / name, self.passwords["postgres"]
        member = PatroniNode(name, folder, self._free_port(), password, rest_port=0)
        self.secure(member)
        node = DatabaseNode(member, "follower")
        self.databases.append(node)
        member.rest_port = self._free_port()
        self.save()
        return node

    def topology(self) -> Topology:
        """Return the cluster as the file says it that is rendered."""
        places = [node.place for node in self.engines]
        places += [Place(node.name, "server", "local", HOST, node.ports) for node in self.servers]
        for database in self.databases:
            ports = {"port": database.port}
            if isinstance(database.postgres, PatroniNode):
                ports["rest_port"] = database.postgres.rest_port
            places.append(Place(database.name, "database", "local", HOST, ports))
        shape = self.shape
        return Topology(
            balancer=shape.balancer or "haproxy",
            balance=shape.balance,
            micro_cache=shape.micro_cache,
            high_availability=shape.high_availability,
            tls=shape.tls,
            sizes=local_sizes(len(self.servers)),
            hosts={"local": HOST},
            places=tuple(places),
            drained=frozenset(self.drained),
        )

    def render(self) -> None:
        """Write the configuration of all nodes anew, and say what each engine is run with. Raises: OperatorError."""
        topology = self.topology()
        layout = Local(self.home / "config", self.data, self.socket_folder(), self.certificates)
        bin_folder = str(Path(program("initdb")).parent)
        if topology.tls:
            rendering.make_certificates(topology, self.certificates)
        cluster = node_config.Cluster(topology, layout, self.passwords, self.shape.settings, bin_folder)
        rendering.write(rendering.local(cluster), layout.config_folder)
        for node in self.engines:
            make_passable(layout.data(node.place).parent)
            data = layout.data(node.place)
            data.mkdir(exist_ok=True)
            data.chmod(0o711 if node.role == "balancer" else 0o700)  # nginx's workers run as another user for root
            config = layout.config(node.place, node_config.suffix_of(topology, node.place))
            node.command = engines.command_of(node.role, topology.balancer, config, data, layout.master(node.place))
            self.secure_engine(node)
            if node.role == "balancer" and topology.balancer == "haproxy":
                node.socket, node.state_file = layout.socket(node.place), layout.state(node.place)
        for database in self.databases:
            if isinstance(database.postgres, PatroniNode):
                self._tell_patroni(database.postgres, layout)

    def _tell_patroni(self, node: PatroniNode, layout: Local) -> None:
        node.make_folder()
        node.config = node.folder / "patroni.yml"
        shutil.copy(layout.config_folder / f"{node.name}.yml", node.config)
        own(node.config)
        if node.tls is not None:
            make_passable(node.tls.folder)
            for path in rendering.copy_certificate(Tls(self.certificates, node.name), node.tls):
                own(path)
        node.command = [*patroni.program(), str(node.config)]

    @property
    def certificates(self) -> Path:
        """Return the folder of the CA and the nodes' certificates."""
        return self.home / "certificates"

    def secure(self, node: PatroniNode) -> None:
        """Let a node of Patroni be asked with the passwords of this cluster, and with its certificate if it has one."""
        known = PATRONI_PASSWORDS.items()
        node.secrets = {role: self.passwords[name] for role, name in known if name in self.passwords}
        if self.shape.tls:
            node.tls, node.authorities = Tls(node.folder / "tls", node.name), self.certificates / "ca.crt"

    def secure_engine(self, node: EngineNode) -> None:
        """Let an engine be asked with its password and certificate."""
        node.tls = Tls(self.certificates, node.name) if self.shape.tls else None
        if node.role == "redis" and "redis" in self.passwords:
            node.login = f"{server_urls.REDIS_USER} {self.passwords['redis']}"

    def redis_url(self) -> str | None:
        """Return where the shared cache is; None when there is none."""
        return server_urls.redis_url(self.topology(), self.passwords, self.certificates / "ca.crt" if self.shape.tls else None)

    def socket_folder(self) -> Path:
        """Return the folder of the balancers' sockets. Raises: OperatorError when another user may have made it."""
        return socket_folder.make(self.home)

    def server_environment(self, name: str) -> dict[str, str]:
        """Return what a server was rendered to be told."""
        lines = (self.home / "config" / f"{name}.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def add_server(self, command: list[str], port: int | None) -> ServerNode:
        """Make a server on a port, a free one when none is said, without starting it."""
        numbers = {int(node.name.rpartition("-")[2]) for node in self.servers}
        number = next(number for number in range(1, len(numbers) + 2) if number not in numbers)
        name, chosen = f"server-{number}", port or self._free_port()
        server = ServerNode(name, chosen, self.home / f"{name}.log", [*command, "--port", str(chosen)], {})
        self.servers.append(server)
        server.ops_port = self._free_port()  # while the other one counts as taken
        self.added.append(server)
        self.save()
        return server

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
        taken = {node.port for node in self.nodes}
        taken |= {port for node in self.engines for port in node.ports}
        taken |= {node.ops_port for node in self.servers}
        taken |= {node.postgres.rest_port for node in self.databases if isinstance(node.postgres, PatroniNode)}
        return free_port(taken)

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
        # Those of a kind together: under Patroni each PostgreSQL would be made the leader by the end of the one before.
        nodes = self.nodes[::-1]
        for _, alike in groupby(nodes, type):
            with ThreadPoolExecutor() as threads:
                list(threads.map(lambda node: node.end(), alike))
        for node in nodes:
            if node.process is not None and node.state() != "dead":
                raise OperatorError(f"{node.name} (process {node.process.pid}) does not end; see {node.log}, then try again.")
        self.save()

    def delete(self) -> None:
        """End everything and delete all that the cluster has written."""
        self.end()
        for node in self.databases:
            node.postgres.delete()
        for engine in self.engines:
            shutil.rmtree(self.data / engine.name, ignore_errors=True)
        shutil.rmtree(socket_folder.path_of(self.home), ignore_errors=True)
        if self.data != self.home:
            with contextlib.suppress(OSError):
                self.data.rmdir()  # it was made for these instances; if anything else lies in it, it stays
        shutil.rmtree(self.home)


def new(home: Path, keep: Callable[[Cluster], None]) -> Cluster:
    """Return a cluster without nodes, with passwords of its own."""
    passwords = {name: secrets.token_urlsafe(24) for name in rendering.SECRETS}
    return Cluster(home, reachable_folder(home), passwords, keep=keep)

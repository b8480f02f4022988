"""A balancer, servers and a Redis in front of a fleet's databases, from the files that `matinee cluster render` makes of them.

Called by scale_out.py and micro_cache.py. What is measured is what is shipped: nothing but ports, and what a bench says it
changes, differs from `matinee cluster up`. Everything is ended by its own id when the block ends.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.fleet import Fleet
from bench.servers import Process, environment
from matinee.ops import engines, node_config, rendering
from matinee.ops.engines import EngineNode
from matinee.ops.layout import Local
from matinee.ops.processes import free_port, happens
from matinee.ops.service import ServerNode
from matinee.ops.topology import Place, Sizes, Topology, ports_of

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
_HOST = "127.0.0.1"
_SEES_ALL_WITHIN_S = 20.0


@dataclass(frozen=True)
class Shape:
    """What stands in front of the databases; `settings` are more variables of the servers."""

    servers: int
    followers: int
    balancer: str = "haproxy"
    balance: str = "least-connections"
    micro_cache: bool = False
    redis: bool = False
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Balanced:
    """A shape that runs: where clients reach it, where its servers are, and the processes of each tier."""

    url: str
    server_urls: list[str]
    tiers: dict[str, list[Process]]

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time that each tier has used so far."""
        return {name: sum(process.exact_cpu_s() for process in several) for name, several in self.tiers.items()}


@contextmanager
def balanced(made: Fleet, shape: Shape, balancer_core: int | None = None) -> Iterator[Balanced]:
    """Run a shape over a fleet until the block ends; `balancer_core` ties the balancer to one. Raises: OperatorError."""
    folder = Path(tempfile.mkdtemp(prefix="matinee-bench-"))  # a short path: the balancer's socket lies there
    folder.chmod(0o711)  # for a root nginx works as another user, who must get through
    cluster = _rendered(made, shape, folder)
    started: list[EngineNode | ServerNode] = []
    try:
        for role in ("redis", "server", "balancer"):
            nodes = [_node(cluster, place) for place in cluster.topology.of(role)]
            started += nodes
            with on_core(balancer_core if role == "balancer" else None), ThreadPoolExecutor(1 + len(nodes)) as threads:
                list(threads.map(lambda node: node.start(), nodes))
        _wait_until_all_is_seen(started)
        yield _running(made, shape, started)
    finally:
        for node in reversed(started):
            node.end(is_drained=True) if isinstance(node, ServerNode) else node.end()
        shutil.rmtree(folder)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Tie what is started in the block to one core; None ties nothing."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _rendered(made: Fleet, shape: Shape, folder: Path) -> node_config.Cluster:
    """Write the files of all nodes, and return what they were made of."""
    databases = made.cluster.databases[: 1 + shape.followers]
    roles = ["balancer", *["server"] * shape.servers, *["redis"] * shape.redis]
    places = [_place(role, number) for number, role in enumerate(roles)]
    places += [Place(node.name, "database", "local", _HOST, {"port": node.port}) for node in databases]
    topology = Topology(
        balancer=shape.balancer,
        balance=shape.balance,
        micro_cache=shape.micro_cache,
        tls=False,  # these databases have no certificates
        sizes=Sizes(client_requests_per_s=1_000_000, redis_memory="128MB"),  # as `cluster up` has them
        hosts={"local": _HOST},
        places=tuple(places),
    )
    settings = {"MATINEE_HOME": str(made.home), "MATINEE_LOG_FILE": "", **shape.settings}
    cluster = node_config.Cluster(
        topology, Local(folder, folder / "data", folder, folder / "certificates"), made.cluster.passwords, settings
    )
    rendering.write(rendering.local(cluster), folder)
    return cluster


def _place(role: str, number: int) -> Place:
    name = f"{role}-{number}" if role == "server" else role
    return Place(name, role, "local", _HOST, {key: free_port() for key in ports_of(role)})


def _node(cluster: node_config.Cluster, place: Place) -> EngineNode | ServerNode:
    layout, log = cluster.layout, cluster.layout.config(place, ".log")
    file = layout.config(place, node_config.suffix_of(cluster.topology, place))
    if place.role == "server":
        lines = file.read_text().splitlines()
        told = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        return ServerNode(place.name, place.port, log, [*_MATINEE, "serve", "--port", str(place.port)], environment(told))
    layout.data(place).mkdir(parents=True)
    command = engines.command_of(place.role, cluster.topology.balancer, file, layout.data(place))
    return EngineNode(place, command, log)


def _wait_until_all_is_seen(nodes: Sequence[EngineNode | ServerNode]) -> None:
    for node in nodes:
        if isinstance(node, ServerNode) and not happens(lambda node=node: _is_whole(node), _SEES_ALL_WITHIN_S):  # type: ignore[misc]
            raise RuntimeError(f"{node.name} does not read from every copy: {node.readiness()}")


def _is_whole(server: ServerNode) -> bool:
    return (server.readiness() or {}).get("status") == "ready"


def _running(made: Fleet, shape: Shape, nodes: Sequence[EngineNode | ServerNode]) -> Balanced:
    def processes(role: str) -> list[Process]:
        return [Process(node.address, node.process.pid) for node in nodes if node.role == role and node.process]

    def databases(role: str) -> list[Process]:
        found = [node for node in made.cluster.databases if node.role == role and node.process]
        return [Process(node.address, node.process.pid) for node in found[: shape.followers] if node.process]

    tiers = {"balancer": processes("balancer"), "servers": processes("server")}
    tiers |= {"leader": databases("leader"), "followers": databases("follower"), "Redis": processes("redis")}
    servers = [process.url for process in tiers["servers"]]
    return Balanced(tiers["balancer"][0].url, servers, tiers)

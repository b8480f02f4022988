"""Redis with Sentinel from the rendered files: when the master is gone, the front leads to the one that took its place."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from matinee.ops import engines, node_config, rendering
from matinee.ops.engines import EngineNode
from matinee.ops.layout import Local
from matinee.ops.processes import free_port
from matinee.ops.server_urls import REDIS_PEER, REDIS_USER
from matinee.ops.topology import Place, Topology, example, faults_of, ports_of
from tests.processes import eventually

pytestmark = pytest.mark.sqlite_only("it has no catalogue: once is enough")
_COUNTS = {"redis": 2, "sentinel": 3, "front": 1}


@dataclass
class Running:
    """The engines that run, by name, and the master as it is reached through the front."""

    nodes: dict[str, EngineNode]
    master: EngineNode

    def write(self, name: str) -> bytes:
        """Write a key by the front, as a server does, and return what Redis says."""
        return self.master.say(b"SET matinee:%b 1\r\n" % name.encode())


def cluster_of_this_machine() -> Topology:
    """Return a cluster with Sentinel whose every port is a free one."""
    made = example(servers=1, followers=2, high_availability=True, balancer="haproxy", redis=False)
    taken: set[int] = set()

    def place(name: str, role: str) -> Place:
        ports = {key: free_port(taken) for key in ports_of(role)} | (
            {"redis_port": free_port(taken)} if role == "front" else {}
        )
        taken.update(ports.values())
        return Place(name, role, "local", "127.0.0.1", ports)

    others = [place(other.name, other.role) for other in made.places if other.role != "front"]
    ours = [place(f"{role}-{number + 1}", role) for role, count in _COUNTS.items() for number in range(count)]
    return replace(made, hosts={"local": "127.0.0.1"}, places=(*others, *ours))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Start two Redis, three Sentinels and the front from what is rendered, and end them."""
    topology = cluster_of_this_machine()
    assert faults_of(topology) == []
    rendering.render(topology, "local", tmp_path)
    layout, nodes = Local(tmp_path, tmp_path / "data", tmp_path, tmp_path / "certificates"), {}
    passwords = rendering.kept_secrets(tmp_path / "secrets.json")
    logins = {"redis": f"{REDIS_USER} {passwords['redis']}", "sentinel": f"{REDIS_PEER} {passwords['redis_peer']}", "front": ""}
    with ExitStack() as left:
        for node in topology.of(*_COUNTS):
            layout.data(node).mkdir(parents=True)
            config = layout.config(node, node_config.suffix_of(topology, node))
            command = engines.command_of(node.role, "haproxy", config, layout.data(node), layout.master(node))
            log, login = tmp_path / f"{node.name}.log", logins[node.role]
            nodes[node.name] = EngineNode(node, command, log, tls=layout.tls(node), login=login)
            left.callback(nodes[node.name].end)
            nodes[node.name].start()
        (front,) = topology.of("front")
        behind = replace(front, role="redis", ports={"port": front.ports["redis_port"]})
        yield Running(nodes, EngineNode(behind, [], tmp_path / "none", tls=layout.tls(front), login=logins["redis"]))


def test_when_the_master_is_killed_the_front_leads_to_the_one_that_took_its_place(running: Running) -> None:
    eventually(lambda: running.write("before"), lambda said: said == b"+OK\r\n")
    # Sentinels find each other and the replica by the master; until then none of them could do anything.
    found = b"slaves=1,sentinels=3"
    eventually(lambda: running.nodes["sentinel-1"].say(b"INFO sentinel\r\n"), lambda said: found in said, 20)

    running.nodes["redis-1"].send(signal.SIGKILL)

    assert eventually(lambda: running.write("after"), lambda said: said == b"+OK\r\n", 30) == b"+OK\r\n"
    assert b"role:master" in running.nodes["redis-2"].say(b"INFO replication\r\n")

"""Where the servers of a cluster answer operators: on loopback of their host, unless the topology says otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from matinee.ops import node_config, rendering, topology
from matinee.ops.layout import System

_SMALL = """
[hosts]
one = "10.0.0.1"

[nodes]
server-1 = { role = "server", host = "one", port = 8011 }
server-2 = { role = "server", host = "one", port = 65000 }
server-3 = { role = "server", host = "one", port = 8001, ops_port = 9100 }
database-1 = { role = "database", host = "one" }
"""


@pytest.fixture
def small(tmp_path: Path) -> topology.Topology:
    """Return a cluster of three servers."""
    path = tmp_path / "topology.toml"
    path.write_text(_SMALL)
    return topology.read(path)


def addresses(made: topology.Topology) -> list[str]:
    """Return the MATINEE_OPS_ADDRESS that each server is rendered with."""
    cluster = node_config.Cluster(made, System(), dict.fromkeys(rendering.SECRETS, ""), {})
    settings = [{name: value for name, value, _ in node_config.server_settings(cluster, node)} for node in made.of("server")]
    return [each["MATINEE_OPS_ADDRESS"] for each in settings]


def test_each_server_answers_operators_on_loopback_of_its_host_on_a_port_of_its_own(small: topology.Topology) -> None:
    assert addresses(small) == ["127.0.0.1:9011", "127.0.0.1:64000", "127.0.0.1:9100"]


def test_a_monitoring_network_reaches_them_on_the_address_of_the_host(small: topology.Topology) -> None:
    assert addresses(replace(small, monitoring="network")) == ["10.0.0.1:9011", "10.0.0.1:64000", "10.0.0.1:9100"]


def test_a_monitoring_network_needs_an_address(small: topology.Topology) -> None:
    places = tuple(replace(place, address="one.example.org") for place in small.places)

    (fault,) = topology.faults_of(replace(small, places=places, monitoring="network"))

    assert fault == 'monitoring = "network" needs an IP address for the host of server-1, not one.example.org'

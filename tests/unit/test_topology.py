"""The file that says a cluster: what is read from it, and what is refused with which words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from matinee.errors import OperatorError
from matinee.ops import topology as topologies

_SMALL = """
[hosts]
one = "10.0.0.1"
two = "10.0.0.2"

[nodes]
server-1 = { role = "server", host = "one" }
server-2 = { role = "server", host = "two", port = 8002 }
database-1 = { role = "database", host = "one" }
"""


def read(folder: Path, text: str) -> topologies.Topology:
    """Return the cluster that a text says."""
    path = folder / "topology.toml"
    path.write_text(text)
    return topologies.read(path)


def refusal(folder: Path, text: str) -> str:
    """Return the words that a text is refused with."""
    with pytest.raises(OperatorError) as refused:
        read(folder, text)
    return refused.value.detail


def test_what_the_file_leaves_out_is_as_usual(tmp_path: Path) -> None:
    found = read(tmp_path, _SMALL)

    assert [(place.name, place.role, place.at) for place in found.places] == [
        ("server-1", "server", "10.0.0.1:8001"),
        ("server-2", "server", "10.0.0.2:8002"),
        ("database-1", "database", "10.0.0.1:5432"),
    ]
    assert (found.name, found.balancer, found.balance) == ("matinee", "haproxy", "least-connections")
    assert (found.micro_cache, found.high_availability, found.sizes) == (False, False, topologies.Sizes())


@pytest.mark.parametrize("high_availability", [False, True])
@pytest.mark.parametrize("balancer", topologies.BALANCERS)
def test_what_is_written_is_read_as_the_same_cluster(tmp_path: Path, balancer: str, high_availability: bool) -> None:
    made = topologies.example(servers=7, followers=2, high_availability=high_availability, balancer=balancer, redis=True)
    made = replace(made, trusted_proxies=("10.1.0.0/16", "::1"), public_url="https://films.example.org/cat")
    made = replace(made, balance="bounded-load", micro_cache=True, sizes=topologies.Sizes(workers=4, redis_memory="2GB"))

    assert read(tmp_path, topologies.write(made)) == made
    assert topologies.faults_of(made) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('"10.0.0.2"', '"10.0.0.777"'), "[hosts] two = '10.0.0.777': it must be an address or a host name"),
        (('role = "server", host = "two"', 'role = "sever", host = "two"'), "[nodes] server-2 needs a role"),
        (('host = "two"', 'host = "three"'), "[nodes] server-2 needs a role"),
        (("port = 8002", "prot = 8002"), "[nodes] server-2: prot is unknown; did you mean port?"),
        (("port = 8002", "port = 80020"), "[nodes] server-2: port = 80020 is no port"),
        (('host = "two", port = 8002', 'host = "one"'), "port 8001 of 10.0.0.1 is taken by server-1 and server-2"),
        (('database-1 = { role = "database"', 'database-1 = { role = "redis"'), "no node has the role database"),
        (("[hosts]", 'balanser = "nginx"\n[hosts]'), "balanser is unknown; did you mean balancer?"),
        (("[hosts]", 'balancer = "apache"\n[hosts]'), 'balancer = \'apache\': it must be "haproxy" or "nginx"'),
        (("[hosts]", "[sizes]\nworkers = 0\n[hosts]"), "[sizes] workers = 0: it must be a whole number from 1 on"),
        (("[hosts]", '[sizes]\nredis_memory = "lots"\n[hosts]'), "[sizes] redis_memory = 'lots': it must be a size"),
        (("[hosts]", "high_availability = true\n[hosts]"), "high_availability needs 3 or 5 nodes of the role etcd"),
        (("[nodes]", '[nodes]\nfront = { role = "front", host = "one" }'), "front is of no use without high_availability"),
        (("[hosts]", 'discovery = "_matinee._tcp.example.org"\n[hosts]'), "discovery needs balancer"),
        (("[hosts]", 'https = "on"\n[hosts]'), 'https = \'on\': it must be "certificate" or "acme" or "off"'),
        (("[hosts]", 'public_url = "films.example.org"\n[hosts]'), "is no address of a site; write scheme, host name"),
        (("[hosts]", 'public_url = "https://f.example.org/;x"\n[hosts]'), "is no address of a site; write scheme, host name"),
        (("[hosts]", 'public_url = "https://f.example.org/../x"\n[hosts]'), "is no address of a site; write scheme, host name"),
        (("[hosts]", 'public_url = "http://f.example.org"\n[hosts]'), "needs a public_url that begins with https://"),
        (
            ("[hosts]", 'public_url = "https://f.example.org"\nhttps = "off"\n[hosts]'),
            "the proxy in front that ends TLS must be",
        ),
        (("[hosts]", 'public_url = "https://10.0.0.9"\nhttps = "acme"\n[hosts]'), "needs a public name in DNS"),
        (("[hosts]", 'trusted_proxies = "10.1.0.1"\n[hosts]'), "it must be a list of texts"),
        (("[hosts]", 'trusted_proxies = ["10.1.0.1/16"]\n[hosts]'), "has host bits set"),
        (("[hosts]", 'trusted_proxies = ["0.0.0.0/0"]\n[hosts]'), "any client could pass for another"),
        (("[hosts]", "[hosts"), "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    assert change[0] in _SMALL

    assert expected in refusal(tmp_path, _SMALL.replace(*change))


def test_a_front_without_the_port_of_redis_is_refused_where_a_sentinel_moves_redis() -> None:
    made = topologies.example(servers=3, followers=2, high_availability=True, balancer="haproxy", redis=True)
    more = [(f"sentinel-{number}", "sentinel", number) for number in range(3)] + [("redis-2", "redis", 9)]
    places = tuple(topologies.Place(name, role, "two", "10.0.0.2", {"port": 26379 + n}) for name, role, n in more)

    found = topologies.faults_of(replace(made, places=made.places + places))

    assert found == ["a front with a sentinel needs redis_port, where servers reach the master: redis_port = 6380"]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    told = refusal(tmp_path, _SMALL.replace("port = 8002", "port = 0").replace("10.0.0.1", "no address"))

    assert len(told.splitlines()) == 3


def test_a_file_that_is_not_there_is_told_with_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        topologies.read(tmp_path / "none.toml")

    assert refused.value.detail.endswith(f"`matinee cluster topology > {tmp_path}/none.toml` writes one to begin with.")


@pytest.mark.parametrize(
    ("https", "expected"),
    [
        ("certificate", {"port": 443, "http_port": 80, "stats_port": 8404}),
        ("acme", {"port": 443, "http_port": 80, "acme_port": 8402, "stats_port": 8404}),
        ("off", {"port": 8000, "stats_port": 8404}),
    ],
)
def test_a_balancer_has_the_ports_of_its_way_to_be_reached(tmp_path: Path, https: str, expected: dict[str, int]) -> None:
    text = _SMALL.replace("[nodes]", '[nodes]\nbalancer = { role = "balancer", host = "one" }')

    assert read(tmp_path, f'https = "{https}"\n{text}').of("balancer")[0].ports == expected


def test_several_balancers_cannot_share_acme(tmp_path: Path) -> None:
    made = topologies.example(servers=1, followers=0, high_availability=False, balancer="nginx", redis=False)
    other = replace(made.of("balancer")[0], name="balancer-2", host="two", address="10.0.0.2")

    faults = topologies.faults_of(replace(made, https="acme", places=(*made.places, other)))

    assert [fault.partition(":")[0] for fault in faults] == ['https = "acme" needs one balancer, not 2']

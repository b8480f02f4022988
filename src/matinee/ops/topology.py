"""The cluster as one file says it: which hosts there are, what runs on each, and how large.

Read by `cluster render`, and made by `cluster up` for what it runs on loopback. rendering.py turns it into the configuration of
the engines. Nothing here starts, writes or asks anything.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matinee.addresses import is_ip
from matinee.errors import OperatorError
from matinee.ops import public_name

# What each role listens on, and on which port if the file does not say.
PORTS: dict[str, dict[str, int]] = {
    "balancer": {"port": 443, "http_port": 80, "acme_port": 8402, "stats_port": 8404},
    "server": {"port": 8001, "ops_port": 9001},
    "front": {"port": 5000, "stats_port": 8405, "redis_port": 6380},
    "database": {"port": 5432, "rest_port": 8008},
    "etcd": {"port": 2379, "peer_port": 2380},
    "redis": {"port": 6379},
    "sentinel": {"port": 26379},
}
PLAIN_PORT = 8000  # the balancer's, when TLS ends in front of it or nowhere
BALANCERS = ("haproxy", "nginx")
MONITORING = ("loopback", "network")
BALANCES = ("least-connections", "bounded-load")
_OPS_OFFSET = 1000  # as MATINEE_OPS_ADDRESS=auto
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_RESOLVER = re.compile(r"\d{1,3}(\.\d{1,3}){3}:\d{1,5}")
_SIZE = re.compile(r"[1-9][0-9]{0,8}(kB|MB|GB)")


@dataclass(frozen=True)
class Place:
    """A node of the cluster: its role, its host's address, and the ports that it listens on."""

    name: str
    role: str
    host: str
    address: str
    ports: Mapping[str, int]

    @property
    def port(self) -> int:
        """Return the port of its main business."""
        return self.ports["port"]

    @property
    def at(self) -> str:
        """Return where its main business is."""
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Sizes:
    """How large the nodes are; `server_requests` is what one server works on at once before the balancer queues.

    `client_connections` are what the balancer has open at once; each takes two file descriptors.
    """

    workers: int = 1
    server_requests: int = 64
    queue: int = 1_000
    client_connections: int = 20_000
    client_requests_per_s: int = 200
    max_connections: int = 200
    shared_buffers: str = "128MB"
    redis_memory: str = "256MB"


def local_sizes(servers: int) -> Sizes:
    """Return the sizes of a cluster on one machine.

    Its servers share the cores, everybody comes from one address, and a process may have fewer files open than a service.
    """
    requests = min(Sizes.server_requests, 96 // max(1, servers))
    return Sizes(server_requests=requests, client_connections=8_000, client_requests_per_s=1_000_000, redis_memory="128MB")


@dataclass(frozen=True)
class Topology:
    """One cluster. `drained` are the servers that get no new requests; `tls`: the nodes encrypt and verify each other.

    `monitoring` says where servers answer operators (`ops_port`): on loopback of their host, or on its address.
    `discovery` names SRV records of servers that are not listed here, `resolver` the address of the DNS server that has them.
    `public_url`, `https` and `trusted_proxies` say how clients reach the balancer (public_name.py): on loopback by plain HTTP.
    """

    name: str = "matinee"
    balancer: str = "haproxy"
    balance: str = "least-connections"
    micro_cache: bool = False
    high_availability: bool = False
    tls: bool = True
    monitoring: str = "loopback"
    program: str = "/opt/matinee/.venv/bin/matinee"
    discovery: str = ""
    resolver: str = ""
    public_url: str = ""
    https: str = "off"
    trusted_proxies: tuple[str, ...] = ()
    sizes: Sizes = field(default_factory=Sizes)
    hosts: Mapping[str, str] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    drained: frozenset[str] = frozenset()

    def of(self, *roles: str) -> list[Place]:
        """Return the nodes of these roles, in the file's order."""
        return [place for place in self.places if place.role in roles]

    def first(self, role: str) -> Place | None:
        """Return the first node of a role, None when there is none."""
        return next(iter(self.of(role)), None)


def read(path: Path) -> Topology:
    """Return the cluster that a file says. Raises: OperatorError with all that is wrong with it."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OperatorError(f"There is no {path}; `matinee cluster topology > {path}` writes one to begin with.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorError(f"{path} cannot be read as TOML: {error}") from error
    faults: list[str] = []
    topology = _topology(said, faults)
    faults += [*_unlike(said), *faults_of(topology)] if not faults else []
    if faults:
        raise OperatorError(f"{path} is wrong:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return topology


def write(topology: Topology) -> str:
    """Return the file that says a cluster; `read` gives the same one back."""
    lines = [
        "# The cluster: which hosts there are, and what runs on each. `matinee cluster render` makes the configuration from it."
    ]
    for name, shown in (
        ("name", _quoted(topology.name)),
        ("public_url", _quoted(topology.public_url) + "  # the address that clients use: write your own name"),
        ("https", _quoted(topology.https) + '  # TLS at the balancer: your "certificate", "acme" (certbot), or "off"'),
        ("trusted_proxies", _list(topology.trusted_proxies) + '  # in front of the balancer, as "10.1.0.0/16"'),
        ("balancer", _quoted(topology.balancer) + "  # or " + " or ".join(f'"{other}"' for other in BALANCERS[1:])),
        ("balance", _quoted(topology.balance) + '  # or "bounded-load": the same movie goes to the same server'),
        ("micro_cache", _flag(topology.micro_cache) + "  # whether the balancer answers again what says s-maxage"),
        ("high_availability", _flag(topology.high_availability) + "  # PostgreSQL under Patroni, with etcd"),
        ("tls", _flag(topology.tls) + "  # certificates between all parts; without them only passwords protect a connection"),
        ("monitoring", _quoted(topology.monitoring) + '  # or "network": ops_port of each server for a Prometheus elsewhere'),
        ("program", _quoted(topology.program) + "  # where the hosts have matinee"),
        ("discovery", _quoted(topology.discovery) + "  # SRV records of further servers, as _matinee._tcp.example.org"),
        ("resolver", _quoted(topology.resolver) + "  # a DNS server that has them, and host names, as 10.0.0.53:53"),
    ):
        lines.append(f"{name} = {shown}")
    lines += ["", "[sizes]", *(f"{name} = {_value(value)}" for name, value in dataclasses.asdict(topology.sizes).items())]
    lines += ["", "[hosts]", *(f"{name} = {_quoted(address)}" for name, address in topology.hosts.items())]
    lines += ["", "[nodes]"]
    for place in topology.places:
        ports = ", ".join(f"{name} = {port}" for name, port in place.ports.items())
        lines.append(f'{place.name} = {{ role = "{place.role}", host = "{place.host}", {ports} }}')
    return "\n".join([*lines, ""])


def example(*, servers: int, followers: int, high_availability: bool, balancer: str, redis: bool) -> Topology:
    """Return a cluster on three hosts, to begin with."""
    hosts = {"one": "10.0.0.1", "two": "10.0.0.2", "three": "10.0.0.3"}
    made: list[Place] = []

    def put(role: str, count: int) -> None:
        for number in range(count):
            host = list(hosts)[number % len(hosts)]
            name = f"{role}-{number + 1}" if count > 1 or role in {"server", "database", "etcd"} else role
            step = 10 * (number // len(hosts))  # the next round over the hosts takes other ports
            usual = ports_of(role, high_availability=high_availability, https="certificate")
            ports = {key: port + step for key, port in usual.items()}
            made.append(Place(name, role, host, hosts[host], ports))

    put("balancer", 1)
    put("server", servers)
    put("front", 1 if high_availability else 0)
    put("database", followers + 1)
    put("etcd", 3 if high_availability else 0)
    put("redis", 1 if redis else 0)
    return Topology(
        balancer=balancer,
        high_availability=high_availability,
        public_url="https://movies.example.org",
        https="certificate",
        hosts=hosts,
        places=tuple(made),
    )


def ports_of(role: str, *, high_availability: bool = True, https: str = "off") -> dict[str, int]:
    """Return the ports that a node of a role needs, with the usual numbers."""
    needless = set() if high_availability else {"rest_port"}
    needless |= {"redis_port"}  # only where a Sentinel moves Redis about
    needless |= set() if https == "acme" else {"acme_port"}
    needless |= {"http_port"} if https == "off" else set()
    ports = {name: port for name, port in PORTS[role].items() if name not in needless}
    return ports | {"port": PLAIN_PORT} if role == "balancer" and https == "off" else ports


def faults_of(topology: Topology) -> list[str]:
    """Return in sentences what a cluster like this cannot run with."""
    faults = list(_clashes(topology.places))
    faults += public_name.faults(topology.public_url, topology.https, topology.trusted_proxies, len(topology.of("balancer")))
    if not topology.of("database"):
        faults.append("no node has the role database; the first one is the leader")
    if not topology.of("server") and not topology.discovery:
        faults.append("no node has the role server")
    if topology.discovery and (topology.balancer != "haproxy" or not _RESOLVER.fullmatch(topology.resolver)):
        faults.append('discovery needs balancer = "haproxy" and a resolver, the address of a DNS server: "10.0.0.53:53"')
    if topology.resolver and not topology.discovery and not _RESOLVER.fullmatch(topology.resolver):
        faults.append(f'resolver = "{topology.resolver}": it must be the address of a DNS server, as in "10.0.0.53:53"')
    named = [place for place in topology.of("server") if not is_ip(place.address)]
    if topology.monitoring == "network" and named:
        faults.append(f'monitoring = "network" needs an IP address for the host of {named[0].name}, not {named[0].address}')
    if topology.high_availability:
        if len(topology.of("etcd")) not in (3, 5):
            faults.append("high_availability needs 3 or 5 nodes of the role etcd, so that a majority remains when one is gone")
        if len(topology.of("database")) < 3:
            faults.append("high_availability needs 3 nodes of the role database or more: a leader, and two that may follow it")
        if not topology.of("front"):
            faults.append("high_availability needs a node of the role front, which leads writes to whoever is the leader")
    elif stray := topology.of("etcd", "front"):
        faults.append(f"{stray[0].name} is of no use without high_availability = true")
    return [*faults, *_redis_faults(topology)]


def _redis_faults(topology: Topology) -> list[str]:
    faults = []
    if topology.of("sentinel") and (
        len(topology.of("sentinel")) < 3 or not topology.of("front") or len(topology.of("redis")) < 2
    ):
        faults.append("sentinel needs 3 nodes of its role, 2 of redis, and a front that leads to whichever Redis is the master")
    if topology.of("sentinel") and any("redis_port" not in front.ports for front in topology.of("front")):
        faults.append("a front with a sentinel needs redis_port, where servers reach the master: redis_port = 6380")
    if len(topology.of("redis")) > 1 and not topology.of("sentinel"):
        faults.append("several nodes of the role redis need 3 of the role sentinel; for a cache one Redis is enough")
    return faults


def _topology(said: Mapping[str, Any], faults: list[str]) -> Topology:
    def one(name: str, kind: type, default: Any, allowed: Collection[str] = ()) -> Any:
        value = said.get(name, default)
        if not isinstance(value, kind) or (allowed and value not in allowed):
            wanted = " or ".join(f'"{word}"' for word in allowed) or {bool: "true or false", str: "a text"}[kind]
            faults.append(f"{name} = {value!r}: it must be {wanted}")
            return default
        return value

    hosts = _hosts(said, faults)
    is_available = one("high_availability", bool, False)
    https = one("https", str, public_name.HTTPS[0], public_name.HTTPS)
    proxies = said.get("trusted_proxies", [])
    if not isinstance(proxies, list) or not all(isinstance(proxy, str) for proxy in proxies):
        faults.append(f'trusted_proxies = {proxies!r}: it must be a list of texts, as in ["10.1.0.0/16"]')
        proxies = []
    topology = Topology(
        name=one("name", str, "matinee"),
        balancer=one("balancer", str, "haproxy", BALANCERS),
        balance=one("balance", str, "least-connections", BALANCES),
        micro_cache=one("micro_cache", bool, False),
        high_availability=is_available,
        tls=one("tls", bool, True),
        monitoring=one("monitoring", str, "loopback", MONITORING),
        program=one("program", str, Topology.program),
        discovery=one("discovery", str, ""),
        resolver=one("resolver", str, ""),
        public_url=one("public_url", str, "").rstrip("/"),
        https=https,
        trusted_proxies=tuple(proxies),
        sizes=_sizes(said.get("sizes", {}), faults),
        hosts=hosts,
        places=tuple(_places(said.get("nodes", {}), hosts, faults, is_available=is_available, https=https)),
    )
    if not _NAME.fullmatch(topology.name):
        faults.append(f'name = {topology.name!r}: small letters, digits and -, as in "matinee"')
    return topology


def _hosts(said: Mapping[str, Any], faults: list[str]) -> dict[str, str]:
    hosts = said.get("hosts", {})
    if not isinstance(hosts, dict) or not hosts:
        faults.append('[hosts] is missing; name each host with its address, as in: one = "10.0.0.1"')
        return {}
    for name, address in hosts.items():
        if not isinstance(address, str) or not _is_address(address):
            faults.append(f"[hosts] {name} = {address!r}: it must be an address or a host name")
    return hosts


def _is_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return bool(_HOST_NAME.fullmatch(text)) and not text.replace(".", "").isdigit()


def _sizes(said: Any, faults: list[str]) -> Sizes:
    if not isinstance(said, dict):
        faults.append("[sizes] must be a table")
        return Sizes()
    known = {item.name: item for item in dataclasses.fields(Sizes)}
    values: dict[str, Any] = {}
    for name, value in said.items():
        if name not in known:
            faults.append(f"[sizes] {name} is unknown; {_near(name, known)}")
        elif known[name].type == "int" and (type(value) is not int or value < 1):
            faults.append(f"[sizes] {name} = {value!r}: it must be a whole number from 1 on")
        elif known[name].type == "str" and not (isinstance(value, str) and _SIZE.fullmatch(value)):
            faults.append(f'[sizes] {name} = {value!r}: it must be a size, as in "256MB"')
        else:
            values[name] = value
    return Sizes(**values)


def _places(said: Any, hosts: Mapping[str, str], faults: list[str], *, is_available: bool, https: str) -> list[Place]:
    if not isinstance(said, dict) or not said:
        faults.append('[nodes] is missing; as in: server-1 = { role = "server", host = "one" }')
        return []
    return [
        place
        for name, item in said.items()
        if (place := _place(name, item, hosts, faults, is_available=is_available, https=https)) is not None
    ]


def _place(
    name: str, item: Any, hosts: Mapping[str, str], faults: list[str], *, is_available: bool, https: str
) -> Place | None:
    if not _NAME.fullmatch(name):
        faults.append(f"[nodes] {name!r} is no name: small letters, digits and -")
        return None
    if not isinstance(item, dict) or item.get("role") not in PORTS or item.get("host") not in hosts:
        roles, names = ", ".join(PORTS), ", ".join(hosts)
        faults.append(f"[nodes] {name} needs a role (one of {roles}) and a host (one of {names})")
        return None
    ports = ports_of(item["role"], high_availability=is_available, https=https)
    for key, value in item.items():
        if key in {"role", "host"}:
            continue
        if key not in PORTS[item["role"]]:
            faults.append(f"[nodes] {name}: {key} is unknown; {_near(key, PORTS[item['role']])}")
        elif type(value) is not int or not 0 < value < 65_536:
            faults.append(f"[nodes] {name}: {key} = {value!r} is no port")
        else:
            ports[key] = value
    if item["role"] == "server" and "ops_port" not in item:
        ports["ops_port"] = ports["port"] + _OPS_OFFSET if ports["port"] + _OPS_OFFSET < 65_536 else ports["port"] - _OPS_OFFSET
    return Place(name, item["role"], item["host"], hosts[item["host"]], ports)


def _unlike(said: Mapping[str, Any]) -> list[str]:
    known = [item.name for item in dataclasses.fields(Topology) if item.name not in {"places", "drained"}] + ["nodes"]
    return [f"{name} is unknown; {_near(name, known)}" for name in said if name not in known]


def _clashes(places: Iterable[Place]) -> Iterable[str]:
    taken = Counter((place.address, port) for place in places for port in place.ports.values())
    for (address, port), count in taken.items():
        if count > 1:
            names = [place.name for place in places if place.address == address and port in place.ports.values()]
            yield f"port {port} of {address} is taken by {' and '.join(names)}; give one of them another"


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _quoted(text: str) -> str:
    return f'"{text}"'


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _value(value: int | str) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)

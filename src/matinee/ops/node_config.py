"""Say the configuration of one node of a cluster: its file, its unit, and what a server is told.

Called by rendering.py, which decides where each text goes, and for whom. The texts are the templates beside this module, filled
with a topology and passwords. Nothing here writes a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from matinee.addresses import host_port, is_ip
from matinee.ops import public_name, server_urls, units
from matinee.ops.balancer_answers import own_answers, problem
from matinee.ops.host_names import HostNames
from matinee.ops.layout import Layout
from matinee.ops.postgres import SETTINGS
from matinee.ops.topology import Place, Sizes, Topology

MAX_BODY_BYTES = 1_048_576
# A server is unready for this long before it accepts no more: the balancer looks every second, and two looks decide.
DRAIN_S = 4
USERS_SUFFIX = ".htpasswd"
_SUFFIXES = {"haproxy": ".cfg", "nginx": ".conf"}
_UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30}
_MOST_FOUND = 32  # servers that DNS may name
# The balancer looks at each server every second, sooner while it is in doubt; one that comes back gets its share bit by bit.
_CHECKS = "check inter 1s fastinter 250ms downinter 1s fall 2 rise 2 slowstart 5s"


@dataclass(frozen=True)
class Cluster:
    """What is rendered: the topology, where things lie, the passwords, and what each server is told beside it.

    `certificates` is the folder of those that hosts get; None where the nodes read that folder itself.
    """

    topology: Topology
    layout: Layout
    secrets: Mapping[str, str]
    settings: Mapping[str, str]
    postgres_bin: str = "/usr/lib/postgresql/15/bin"
    patroni: str = "/opt/matinee/patroni/bin/patroni"
    names: HostNames = field(default_factory=HostNames)
    certificates: Path | None = None

    @property
    def authorities(self) -> Path | None:
        """Return the file of the CAs that a server verifies the others with; None without TLS."""
        servers = self.topology.of("server") or self.topology.places
        return self.layout.tls(servers[0]).authorities if self.topology.tls else None


def suffix_of(topology: Topology, node: Place) -> str:
    """Return how the name of a node's configuration ends."""
    if node.role == "balancer":
        return _SUFFIXES[topology.balancer]
    if node.role == "database":
        return ".yml" if topology.high_availability else ".conf"
    return {"server": ".env", "front": ".cfg", "etcd": ".yml", "redis": ".conf", "sentinel": ".conf"}[node.role]


def config_of(cluster: Cluster, node: Place) -> str | None:
    """Return a node's configuration; None where PostgreSQL's own runner writes it."""
    topology = cluster.topology
    if node.role == "database" and not topology.high_availability:
        return None if cluster.layout.is_local else template("postgresql.conf").render(node=node, **context(cluster))
    names = {
        "balancer": f"{topology.balancer}.{'cfg' if topology.balancer == 'haproxy' else 'conf'}",
        "front": "front.cfg",
        "database": "patroni.yml",
        "etcd": "etcd.yml",
        "redis": "redis.conf",
        "sentinel": "sentinel.conf",
        "server": "server.env",
    }
    more: dict[str, Any] = {"server_settings": list(server_settings(cluster, node))} if node.role == "server" else {}
    return template(names[node.role]).render(node=node, **context(cluster), **more)


def server_settings(cluster: Cluster, node: Place) -> Iterator[tuple[str, str, str]]:
    """Yield what a server is told: variable, value, reason."""
    topology = cluster.topology
    yield "MATINEE_HOST", node.address, "where it listens; the balancer is what clients reach"
    yield "PORT", str(node.port), "on which port"
    yield "MATINEE_OPS_ADDRESS", ops_address(topology, node), "/metrics and the details of /readyz, for operators only"
    yield "WEB_CONCURRENCY", str(topology.sizes.workers), "processes"
    yield "MATINEE_MAX_BODY_BYTES", str(MAX_BODY_BYTES), "the balancer refuses larger bodies as well"
    if topology.of("balancer"):
        yield "MATINEE_DRAIN_S", str(DRAIN_S), "unready for so long before it accepts no more: until every balancer has seen it"
    if proxies := trusted_proxies(cluster):
        yield (
            "MATINEE_TRUSTED_PROXIES",
            ",".join(proxies),
            "the balancers and the proxies in front of them report client addresses",
        )
    if topology.public_url:
        yield "MATINEE_PUBLIC_URL", topology.public_url, "the address that clients use: links, redirects and forms name it"
    if topology.micro_cache:
        yield "MATINEE_S_MAXAGE_S", "1", "so long the balancer may answer again what it was answered"
    if cluster.layout.is_system:
        yield "MATINEE_ENV", "production", "secrets must be given, see secrets.env"
        yield "MATINEE_HOME", "/var/lib/matinee", "its own folder"
        if topology.tls:
            yield "MATINEE_CERTIFICATES", str(cluster.layout.tls(node).folder), "the certificates whose end it reports"
        return  # what holds passwords stands in secrets.env
    yield from server_urls.variables(topology, cluster.secrets, cluster.authorities)
    if topology.tls:
        yield "MATINEE_CERTIFICATES", str(cluster.layout.tls(node).folder), "the certificates whose end it reports"
    for name, value in cluster.settings.items():
        yield name, value.replace("{name}", node.name), "as `matinee cluster up` was told"


def ops_address(topology: Topology, node: Place) -> str:
    """Return where a server answers operators: `off` for one that an earlier version has started without a port for it."""
    if "ops_port" not in node.ports:
        return "off"
    host = "127.0.0.1" if topology.monitoring == "loopback" else node.address
    return f"{host}:{node.ports['ops_port']}"


def trusted_proxies(cluster: Cluster) -> list[str]:
    """Return the IP addresses of the balancers, then the proxies in front of them.

    Raises: OperatorError when a balancer has a name without an address.
    """
    balancers = cluster.topology.of("balancer")
    addresses = sorted({address for place in balancers for address in cluster.names.outside_addresses(place)})
    return [*addresses, *cluster.topology.trusted_proxies]


def statistics_users(cluster: Cluster, node: Place) -> str | None:
    """Return the file of who may see the statistics, where the engine wants one of its own; HAProxy has it in its file."""
    if node.role != "balancer" or cluster.topology.balancer != "nginx" or "statistics" not in cluster.secrets:
        return None
    return f"operator:{{PLAIN}}{cluster.secrets['statistics']}\n"


def server_options(sizes: Sizes) -> str:
    """Return what HAProxy is told of each server that it sends reads to."""
    return f"{_CHECKS} maxconn {sizes.server_requests} maxqueue {sizes.queue}"


def public_certificate_script(cluster: Cluster, balancer: Place) -> str:
    """Return the script that checks a certificate and its key and puts them where a balancer reads them."""
    config = cluster.layout.config(balancer, suffix_of(cluster.topology, balancer))
    return template("public-certificate").render(node=balancer, config=config, **context(cluster))


def unit_of(cluster: Cluster, node: Place) -> str | None:
    """Return a node's unit; None when Debian's own runs it."""
    config = cluster.layout.config(node, suffix_of(cluster.topology, node))
    unit = units.unit_of(cluster.topology, node, config, cluster.patroni)
    return None if unit is None else template("unit.service").render(node=node, unit=unit, topology=cluster.topology)


def context(cluster: Cluster) -> dict[str, Any]:
    """Return what the templates know of a cluster."""
    topology = cluster.topology
    sizes = topology.sizes
    url = public_name.parsed(topology.public_url)
    return {
        "topology": topology,
        "layout": cluster.layout,
        "secrets": cluster.secrets,
        "tls": cluster.layout.tls if topology.tls else None,
        "redis_user": server_urls.REDIS_USER,
        "redis_peer": server_urls.REDIS_PEER,
        "problems": own_answers(MAX_BODY_BYTES),
        "problem": partial(problem, topology.public_url),
        "public": public_name,
        "url": url,
        "max_body_bytes": MAX_BODY_BYTES,
        "most_found": _MOST_FOUND,
        "server_options": server_options(sizes),
        "postgres_settings": list(postgres_settings(cluster)),
        "postgres_bin": cluster.postgres_bin,
        "patroni": cluster.patroni,
        "redis_bytes": _bytes(sizes.redis_memory),
        "networks": sorted({f"{place.address}/32" if is_ip(place.address) else place.address for place in topology.places}),
        "is_ip": is_ip,
        "bind_address": lambda node: node.address if is_ip(node.address) else "0.0.0.0",  # noqa: S104  etcd binds to no name
        **_names(cluster),
    }


def _names(cluster: Cluster) -> dict[str, Callable[[Place], Any]]:
    """Return how the balancers' templates write a server whose host is a name."""
    topology = cluster.topology
    is_nginx = topology.balancer == "nginx"
    found = {place.name: cluster.names.address(place) if is_nginx else place.address for place in topology.of("server")}

    def upstream(server: Place) -> str:
        # The port of discard: nginx needs an address, and never connects to a server that is down.
        return host_port(found[server.name] or "127.0.0.1", server.port if found[server.name] else 9)

    def out_because(server: Place) -> str:
        return "" if found[server.name] else f"  # {server.name}: {server.address} did not resolve; render again when it does"

    def resolved_by(server: Place) -> str:
        is_followed = topology.resolver and not is_ip(server.address)
        return " resolvers discovery resolve-prefer ipv4" if is_followed else ""

    return {
        "upstream": upstream,
        "is_out": lambda server: server.name in topology.drained or not found[server.name],
        "out_because": out_because,
        "resolved_by": resolved_by,
    }


def postgres_settings(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """Yield PostgreSQL's settings: name, value, reason. Where it listens is each node's own."""
    own = {"listen_addresses", "unix_socket_directories"}
    sizes = cluster.topology.sizes
    chosen = {
        "max_connections": (str(sizes.max_connections), "pools of all servers, see `matinee doctor`"),
        "shared_buffers": (f"'{sizes.shared_buffers}'", "a quarter of the memory is usual"),
    }
    if cluster.topology.high_availability:
        chosen |= {
            "wal_log_hints": ("on", "a leader that was replaced can be turned back instead of being copied anew"),
            "synchronous_commit": ("on", "acknowledged is on a follower too; off loses writes when the leader is lost"),
        }
    for name, (value, reason) in {**SETTINGS, **chosen}.items():
        if name not in own:
            yield name, value, reason


def _bytes(size: str) -> int:
    return int(size[:-2]) * _UNITS[size[-2:]]


def template(name: str) -> Template:
    """Return a template by its name without .j2."""
    return _ENVIRONMENT.get_template(f"{name}.j2")


_ENVIRONMENT = Environment(
    loader=PackageLoader("matinee.ops", "templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)

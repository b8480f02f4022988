"""Turn a topology into the configuration of the engines that run it: readable, commented files, one for each node.

Called by `cluster render`, and by `cluster up`, which runs what was rendered. A further target is a layout (layout.py) and its
function in _TARGETS. Nothing here starts anything; files are for their owner alone, because some hold passwords.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from matinee.addresses import host_port, is_ip
from matinee.ops import host_secrets, installing, units
from matinee.ops.host_names import HostNames
from matinee.ops.layout import Layout, Local, System
from matinee.ops.postgres import SETTINGS
from matinee.ops.topology import Place, Sizes, Topology

MAX_BODY_BYTES = 1_048_576
# A server is unready for this long before it accepts no more: the balancer looks every second, and two looks decide.
DRAIN_S = 4
SECRETS = ("postgres", "replicator", "rewinder", "matinee_writer", "matinee_reader", "secret_key")
_SUFFIXES = {"haproxy": ".cfg", "nginx": ".conf"}
_UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30}
# What the balancer answers by itself: status, title, what to do, and Retry-After.
_PROBLEMS = (
    (408, "Request Timeout", "The request came too slowly; send it at once.", 0),
    (413, "Body Too Large", f"The body is larger than {MAX_BODY_BYTES} bytes; send less.", 0),
    (429, "Too Many Requests", "This address sends too many requests; wait, then send fewer.", 10),
    (502, "Bad Gateway", "The server broke off its answer; try again, a write with the same Idempotency-Key.", 1),
    (503, "Unavailable", "No server has room for this request right now; try again.", 1),
    (504, "Gateway Timeout", "The server did not answer in time; try again, a write with the same Idempotency-Key.", 1),
)  # fmt: skip
_MOST_FOUND = 32  # servers that DNS may name
# The balancer looks at each server every second, sooner while it is in doubt; one that comes back gets its share bit by bit.
_CHECKS = "check inter 1s fastinter 250ms downinter 1s fall 2 rise 2 slowstart 5s"


class Rendered(NamedTuple):
    """One file: where it goes below the folder, what it holds, and to whom it belongs on its host."""

    path: Path
    text: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o600


@dataclass(frozen=True)
class Cluster:
    """What is rendered: the topology, where things lie, the passwords, and what each server is told beside it."""

    topology: Topology
    layout: Layout
    secrets: Mapping[str, str]
    settings: Mapping[str, str]
    postgres_bin: str = "/usr/lib/postgresql/15/bin"
    patroni: str = "/opt/matinee/patroni/bin/patroni"
    names: HostNames = field(default_factory=HostNames)


def write(files: Iterator[Rendered], folder: Path) -> list[Path]:
    """Write rendered files below a folder and return their paths."""
    written = []
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        # Closed to others wherever it is rendered; only a host has the users and groups that may read it.
        mode = 0o600 | file.mode & 0o100
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as open_draft:
            open_draft.write(file.text)
        draft.replace(path)
        written.append(path)
    return written


def local(cluster: Cluster) -> Iterator[Rendered]:
    """Render what runs on this machine: a file for each node, all in one folder."""
    for node in cluster.topology.places:
        text = config_of(cluster, node)
        if text is not None:
            yield Rendered(Path(f"{node.name}{suffix_of(cluster.topology, node)}"), text)


def systemd(cluster: Cluster) -> Iterator[Rendered]:
    """Render what each host gets: a folder for each, with its files where they go, what installs them, and a README.md."""
    for host in cluster.topology.hosts:
        nodes = [node for node in cluster.topology.places if node.host == host]
        files = list(_host_files(cluster, host, nodes))
        yield from files
        facts = {
            "host": host,
            "nodes": nodes,
            **installing.facts(cluster.topology, nodes, cluster.patroni, cluster.postgres_bin),
            **_context(cluster),
        }
        placed = [file._replace(path=Path("/") / file.path.relative_to(host)) for file in files]
        yield Rendered(Path(host) / "install", _template("install").render(files=placed, **facts), mode=0o755)
        yield Rendered(Path(host) / "README.md", _template("host.md").render(**facts))


def _host_files(cluster: Cluster, host: str, nodes: list[Place]) -> Iterator[Rendered]:
    """Yield the files that a host gets, each readable by the user that runs its node and by no other."""
    root = Path(host)
    for node in nodes:
        suffix, group = suffix_of(cluster.topology, node), units.user_of(cluster.topology, node.role)
        text = config_of(cluster, node)
        if text is not None:
            path = root / str(cluster.layout.config(node, suffix)).lstrip("/")
            yield Rendered(path, text, group=group, mode=0o640)
        unit = _unit_of(cluster, node)
        if unit is not None:
            yield Rendered(root / "etc/systemd/system" / f"matinee-{node.name}.service", unit, mode=0o644)
    yield from _shared_files(cluster, root, nodes)


_TARGETS: dict[str, Callable[[Cluster], Iterator[Rendered]]] = {"local": local, "systemd": systemd}
TARGETS = tuple(_TARGETS)


def render(topology: Topology, target: str, folder: Path, names: HostNames | None = None) -> list[Path]:
    """Render a topology for a target into a folder and return the files. Passwords are made once and stay in the folder.

    Raises: OperatorError, before any file is written, when a balancer's name has no address.
    """
    layout: Layout = Local(folder, folder / "data", folder) if target == "local" else System()
    names = names or HostNames()
    for place in topology.of("balancer"):
        names.outside_addresses(place)
    _make_private([folder, *(folder / host for host in topology.hosts if target == "systemd")])
    cluster = Cluster(topology, layout, kept_secrets(folder / "secrets.json"), {}, names=names)
    return write(_TARGETS[target](cluster), folder)


def _make_private(folders: list[Path]) -> None:
    """Make folders for their owner alone. One that was there keeps its mode, unless an earlier render made it."""
    is_ours = not folders[0].exists() or (folders[0] / "secrets.json").exists()
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if is_ours or folder is not folders[0]:
            folder.chmod(0o700)


def kept_secrets(path: Path) -> dict[str, str]:
    """Return the passwords that a file keeps; they are made when there is no such file."""
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    made = {name: secrets.token_urlsafe(24) for name in SECRETS}
    write(iter([Rendered(Path(path.name), msgspec.json.format(msgspec.json.encode(made)).decode() + "\n")]), path.parent)
    return made


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
        return None if cluster.layout.is_local else _template("postgresql.conf").render(node=node, **_context(cluster))
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
    return _template(names[node.role]).render(node=node, **_context(cluster), **more)


def server_settings(cluster: Cluster, node: Place) -> Iterator[tuple[str, str, str]]:
    """Yield what a server is told: variable, value, reason."""
    topology = cluster.topology
    yield "MATINEE_HOST", node.address, "where it listens; the balancer is what clients reach"
    yield "PORT", str(node.port), "on which port"
    yield "WEB_CONCURRENCY", str(topology.sizes.workers), "processes"
    yield "MATINEE_MAX_BODY_BYTES", str(MAX_BODY_BYTES), "the balancer refuses larger bodies as well"
    if topology.of("balancer"):
        yield "MATINEE_DRAIN_S", str(DRAIN_S), "unready for so long before it accepts no more: until every balancer has seen it"
    if proxies := trusted_proxies(cluster):
        yield "MATINEE_TRUSTED_PROXIES", ",".join(proxies), "the balancers, which report the address of each client"
    if topology.micro_cache:
        yield "MATINEE_S_MAXAGE_S", "1", "so long the balancer may answer again what it was answered"
    if cluster.layout.is_system:
        yield "MATINEE_ENV", "production", "secrets must be given, see secrets.env"
        yield "MATINEE_HOME", "/var/lib/matinee", "its own folder"
        return  # what holds passwords stands in secrets.env
    yield "MATINEE_OPS_ADDRESS", "off", "on one machine the ports beside this one belong to other nodes"
    yield "DATABASE_URL", writer_url(cluster), "where it writes"
    yield "DATABASE_FOLLOWER_URLS", ",".join(reader_urls(cluster)), "where it reads; whoever leads is left out while it leads"
    if redis := redis_url(topology):
        yield "REDIS_URL", redis, "the cache that all servers share"
    for name, value in cluster.settings.items():
        yield name, value.replace("{name}", node.name), "as `matinee cluster up` was told"


def trusted_proxies(cluster: Cluster) -> list[str]:
    """Return the IP addresses of the balancers. Raises: OperatorError when one has a name without an address."""
    balancers = cluster.topology.of("balancer")
    return sorted({address for place in balancers for address in cluster.names.outside_addresses(place)})


def writer_url(cluster: Cluster) -> str:
    """Return where servers write: by the front, if there is one, because it alone knows who leads."""
    place = cluster.topology.first("front") or cluster.topology.of("database")[0]
    return f"postgresql://matinee_writer:{cluster.secrets['matinee_writer']}@{place.at}/matinee"


def reader_urls(cluster: Cluster) -> list[str]:
    """Return where servers read: every follower, and where anybody may lead, everybody."""
    databases = cluster.topology.of("database")
    followers = databases if cluster.topology.high_availability else databases[1:]
    return [f"postgresql://matinee_reader:{cluster.secrets['matinee_reader']}@{place.at}/matinee" for place in followers]


def redis_url(topology: Topology) -> str | None:
    """Return where the shared cache is; None when there is none."""
    front, redis = topology.first("front"), topology.first("redis")
    if redis is None:
        return None
    if topology.of("sentinel") and front is not None:
        return f"redis://{front.address}:{front.ports['redis_port']}/0"
    return f"redis://{redis.at}/0"


def server_options(sizes: Sizes) -> str:
    """Return what HAProxy is told of each server that it sends reads to."""
    return f"{_CHECKS} maxconn {sizes.server_requests} maxqueue {sizes.queue}"


def _shared_files(cluster: Cluster, root: Path, nodes: list[Place]) -> Iterator[Rendered]:
    roles = {node.role for node in nodes}
    if "server" in roles:
        urls = {
            "writer_url": writer_url(cluster),
            "reader_urls": reader_urls(cluster),
            "redis_url": redis_url(cluster.topology),
        }
        text = _template("secrets.env").render(**_context(cluster), **urls)
        yield Rendered(root / "etc/matinee/secrets.env", text, group="matinee", mode=0o640)
    if "database" in roles:
        for name, lines, group in host_secrets.database_files(cluster.topology, cluster.secrets, nodes):
            mode = 0o600 if group == "root" else 0o640
            yield Rendered(root / "etc/matinee" / name, "\n".join([*lines, ""]), group=group, mode=mode)


def _unit_of(cluster: Cluster, node: Place) -> str | None:
    """Return a node's unit; None when Debian's own runs it."""
    config = cluster.layout.config(node, suffix_of(cluster.topology, node))
    unit = units.unit_of(cluster.topology, node, config, cluster.patroni)
    return None if unit is None else _template("unit.service").render(node=node, unit=unit, topology=cluster.topology)


def _context(cluster: Cluster) -> dict[str, Any]:
    topology = cluster.topology
    sizes = topology.sizes
    return {
        "topology": topology,
        "layout": cluster.layout,
        "secrets": cluster.secrets,
        "problems": _PROBLEMS,
        "problem": _problem,
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


def _problem(status: int, title: str, detail: str) -> str:
    slug = re.sub(r"[^a-z]+", "-", title.lower())
    body = {"type": f"/docs/errors/{slug}", "title": title, "status": status, "detail": detail, "errors": [], "request_id": ""}
    return msgspec.json.encode(body).decode().replace("'", "")


def _bytes(size: str) -> int:
    return int(size[:-2]) * _UNITS[size[-2:]]


def _template(name: str) -> Template:
    return _ENVIRONMENT.get_template(f"{name}.j2")


_ENVIRONMENT = Environment(
    loader=PackageLoader("matinee.ops", "templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)

"""Turn a topology into the configuration of the engines that run it: readable, commented files, one for each node.

Called by `cluster render`, and by `cluster up`, which runs what was rendered. A further target is a layout (layout.py) and its
function in _TARGETS. Nothing here starts anything; files are for their owner alone, because some hold passwords.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from matinee.addresses import host_port, is_ip
from matinee.errors import OperatorError
from matinee.ops import host_secrets, installing, public_name, server_urls, units
from matinee.ops.balancer_answers import own_answers, problem
from matinee.ops.host_names import HostNames
from matinee.ops.layout import Layout, Local, System, Tls
from matinee.ops.postgres import SETTINGS
from matinee.ops.topology import Place, Sizes, Topology

MAX_BODY_BYTES = 1_048_576
# A server is unready for this long before it accepts no more: the balancer looks every second, and two looks decide.
DRAIN_S = 4
SECRETS = (
    *("postgres", "replicator", "rewinder", "matinee_writer", "matinee_reader", "secret_key"),
    *("patroni", "redis", "redis_peer", "statistics"),
)
_USERS_SUFFIX = ".htpasswd"
_SUFFIXES = {"haproxy": ".cfg", "nginx": ".conf"}
_UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30}
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
        if (users := _statistics_users(cluster, node)) is not None:
            yield Rendered(Path(f"{node.name}{_USERS_SUFFIX}"), users)


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
        if (users := _statistics_users(cluster, node)) is not None:
            path = root / str(cluster.layout.config(node, _USERS_SUFFIX)).lstrip("/")
            yield Rendered(path, users, group=group, mode=0o640)
        unit = _unit_of(cluster, node)
        if unit is not None:
            yield Rendered(root / "etc/systemd/system" / f"matinee-{node.name}.service", unit, mode=0o644)
    yield from _shared_files(cluster, root, nodes)
    if cluster.certificates is not None:
        yield from _certificate_files(cluster, cluster.certificates, root, nodes)


def _certificate_files(cluster: Cluster, folder: Path, root: Path, nodes: list[Place]) -> Iterator[Rendered]:
    """Yield the CAs for everybody, and each node's certificate with its key for the user that runs the node."""
    tls = root / "etc/matinee/tls"
    yield Rendered(tls / "ca.crt", (folder / "ca.crt").read_text(encoding="ascii"), mode=0o644)
    for node in nodes:
        group = units.user_of(cluster.topology, node.role)
        for suffix in _CERTIFICATE_FILES.get(group, (".crt", ".key")) if node.role != "server" else ():
            text = (folder / f"{node.name}{suffix}").read_text(encoding="ascii")
            # A certificate is no secret, and the servers report when each one ends.
            yield Rendered(tls / f"{node.name}{suffix}", text, group=group, mode=0o644 if suffix == ".crt" else 0o640)


_CERTIFICATE_FILES = {"haproxy": (".pem",)}  # by user: HAProxy reads both from one file
_TARGETS: dict[str, Callable[[Cluster], Iterator[Rendered]]] = {"local": local, "systemd": systemd}
TARGETS = tuple(_TARGETS)


def render(topology: Topology, target: str, folder: Path, names: HostNames | None = None) -> list[Path]:
    """Render a topology for a target into a folder and return the files. Passwords are made once and stay in the folder.

    On loopback the balancer speaks plain HTTP, whatever the topology says: `cluster up` runs the same files.

    Raises: OperatorError, before any file is written, when a balancer's name has no address, or clients have none for it.
    """
    certificates = folder / "certificates"
    layout: Layout = Local(folder, folder / "data", folder, certificates) if target == "local" else System()
    if target == "local":
        topology = replace(topology, public_url="", https="off", trusted_proxies=())
    elif topology.of("balancer") and (demand := public_name.demand(topology.public_url)):
        raise OperatorError(demand)
    names = names or HostNames()
    for place in topology.of("balancer"):
        names.outside_addresses(place)
    _make_private([folder, *(folder / host for host in topology.hosts if target == "systemd")])
    passwords = kept_secrets(folder / "secrets.json")
    made = make_certificates(topology, certificates) if topology.tls else None
    cluster = Cluster(topology, layout, passwords, {}, names=names, certificates=made if target == "systemd" else None)
    written = write(_TARGETS[target](cluster), folder)
    if made is not None and target == "local":
        for node in topology.of("database"):
            written += copy_certificate(Tls(made, node.name), layout.tls(node))
    return written


def make_certificates(topology: Topology, folder: Path) -> Path:
    """Make or renew the certificates of a topology as far as that is due, and return their folder. Raises: OperatorError."""
    from matinee.ops import certificates, wanted_certificates  # the library takes 15 MiB, which no server needs

    certificates.ensure(folder, topology.name, wanted_certificates.wanted_certificates(topology))
    return folder


def copy_certificate(source: Tls, target: Tls) -> list[Path]:
    """Copy the certificate, key and CAs of a node to where another user may read them, and return the copies."""
    pairs = zip(source.files, target.files, strict=True)
    return write((Rendered(Path(to.name), path.read_text(encoding="ascii")) for path, to in pairs), target.folder)


def _make_private(folders: list[Path]) -> None:
    """Make folders for their owner alone. One that was there keeps its mode, unless an earlier render made it."""
    is_ours = not folders[0].exists() or (folders[0] / "secrets.json").exists()
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if is_ours or folder is not folders[0]:
            folder.chmod(0o700)


def kept_secrets(path: Path) -> dict[str, str]:
    """Return the passwords that a file keeps; those that are missing are made and kept."""
    kept = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    if kept.keys() >= set(SECRETS):
        return kept
    made = {name: secrets.token_urlsafe(24) for name in SECRETS} | kept  # an older version of Matinee had fewer
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


def _statistics_users(cluster: Cluster, node: Place) -> str | None:
    """Return the file of who may see the statistics, where the engine wants one of its own; HAProxy has it in its file."""
    if node.role != "balancer" or cluster.topology.balancer != "nginx" or "statistics" not in cluster.secrets:
        return None
    return f"operator:{{PLAIN}}{cluster.secrets['statistics']}\n"


def server_options(sizes: Sizes) -> str:
    """Return what HAProxy is told of each server that it sends reads to."""
    return f"{_CHECKS} maxconn {sizes.server_requests} maxqueue {sizes.queue}"


def _shared_files(cluster: Cluster, root: Path, nodes: list[Place]) -> Iterator[Rendered]:
    roles = {node.role for node in nodes}
    if "server" in roles:
        variables = list(server_urls.variables(cluster.topology, cluster.secrets, cluster.authorities))
        text = _template("secrets.env").render(**_context(cluster), variables=variables)
        yield Rendered(root / "etc/matinee/secrets.env", text, group="matinee", mode=0o640)
    if "balancer" in roles and cluster.topology.https != "off":
        balancer = next(node for node in nodes if node.role == "balancer")
        yield Rendered(root / "etc/matinee/public-certificate", public_certificate_script(cluster, balancer), mode=0o700)
    if "database" in roles:
        for name, lines, group in host_secrets.database_files(cluster.topology, cluster.secrets, nodes, cluster.authorities):
            mode = 0o600 if group == "root" else 0o640
            yield Rendered(root / "etc/matinee" / name, "\n".join([*lines, ""]), group=group, mode=mode)


def public_certificate_script(cluster: Cluster, balancer: Place) -> str:
    """Return the script that checks a certificate and its key and puts them where a balancer reads them."""
    config = cluster.layout.config(balancer, suffix_of(cluster.topology, balancer))
    return _template("public-certificate").render(node=balancer, config=config, **_context(cluster))


def _unit_of(cluster: Cluster, node: Place) -> str | None:
    """Return a node's unit; None when Debian's own runs it."""
    config = cluster.layout.config(node, suffix_of(cluster.topology, node))
    unit = units.unit_of(cluster.topology, node, config, cluster.patroni)
    return None if unit is None else _template("unit.service").render(node=node, unit=unit, topology=cluster.topology)


def _context(cluster: Cluster) -> dict[str, Any]:
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


def _template(name: str) -> Template:
    return _ENVIRONMENT.get_template(f"{name}.j2")


_ENVIRONMENT = Environment(
    loader=PackageLoader("matinee.ops", "templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)

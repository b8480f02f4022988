"""Turn a topology into the configuration of the engines that run it: readable, commented files, one for each node.

Called by `cluster render`, and by `cluster up`, which runs what was rendered. A further target is a layout (layout.py) and its
function in _TARGETS. Nothing here starts anything; files are for their owner alone, because some hold passwords.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from matinee import private_files
from matinee.errors import OperatorError
from matinee.ops import host_secrets, installing, node_config, public_name, server_urls, units
from matinee.ops.host_names import HostNames
from matinee.ops.layout import Layout, Local, System, Tls
from matinee.ops.node_config import Cluster
from matinee.ops.topology import Place, Topology

SECRETS = (
    *("postgres", "replicator", "rewinder", "matinee_writer", "matinee_reader", "secret_key"),
    *("patroni", "redis", "redis_peer", "statistics"),
)


class Rendered(NamedTuple):
    """One file: where it goes below the folder, what it holds, and to whom it belongs on its host."""

    path: Path
    text: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o600


def write(files: Iterator[Rendered], folder: Path) -> list[Path]:
    """Write rendered files below a folder and return their paths."""
    written = []
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Closed to others wherever it is rendered; only a host has the users and groups that may read it.
        private_files.replace(path, file.text.encode(), 0o600 | file.mode & 0o100)
        written.append(path)
    return written


def local(cluster: Cluster) -> Iterator[Rendered]:
    """Render what runs on this machine: a file for each node, all in one folder."""
    for node in cluster.topology.places:
        text = node_config.config_of(cluster, node)
        if text is not None:
            yield Rendered(Path(f"{node.name}{node_config.suffix_of(cluster.topology, node)}"), text)
        if (users := node_config.statistics_users(cluster, node)) is not None:
            yield Rendered(Path(f"{node.name}{node_config.USERS_SUFFIX}"), users)


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
            **node_config.context(cluster),
        }
        placed = [file._replace(path=Path("/") / file.path.relative_to(host)) for file in files]
        yield Rendered(Path(host) / "install", node_config.template("install").render(files=placed, **facts), mode=0o755)
        yield Rendered(Path(host) / "README.md", node_config.template("host.md").render(**facts))


def _host_files(cluster: Cluster, host: str, nodes: list[Place]) -> Iterator[Rendered]:
    """Yield the files that a host gets, each readable by the user that runs its node and by no other."""
    root = Path(host)
    for node in nodes:
        suffix, group = node_config.suffix_of(cluster.topology, node), units.user_of(cluster.topology, node.role)
        text = node_config.config_of(cluster, node)
        if text is not None:
            path = root / str(cluster.layout.config(node, suffix)).lstrip("/")
            yield Rendered(path, text, group=group, mode=0o640)
        if (users := node_config.statistics_users(cluster, node)) is not None:
            path = root / str(cluster.layout.config(node, node_config.USERS_SUFFIX)).lstrip("/")
            yield Rendered(path, users, group=group, mode=0o640)
        unit = node_config.unit_of(cluster, node)
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


def _shared_files(cluster: Cluster, root: Path, nodes: list[Place]) -> Iterator[Rendered]:
    roles = {node.role for node in nodes}
    if "server" in roles:
        variables = list(server_urls.variables(cluster.topology, cluster.secrets, cluster.authorities))
        text = node_config.template("secrets.env").render(**node_config.context(cluster), variables=variables)
        yield Rendered(root / "etc/matinee/secrets.env", text, group="matinee", mode=0o640)
    if "balancer" in roles and cluster.topology.https != "off":
        balancer = next(node for node in nodes if node.role == "balancer")
        yield Rendered(
            root / "etc/matinee/public-certificate", node_config.public_certificate_script(cluster, balancer), mode=0o700
        )
    if "database" in roles:
        for name, lines, group in host_secrets.database_files(cluster.topology, cluster.secrets, nodes, cluster.authorities):
            mode = 0o600 if group == "root" else 0o640
            yield Rendered(root / "etc/matinee" / name, "\n".join([*lines, ""]), group=group, mode=mode)

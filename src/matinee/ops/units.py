"""Describe the systemd unit of each node: its user, its commands, and what its program must be allowed to do.

Called by rendering.py, which fills templates/unit.service.j2 with it. A unit must never run as root, and grants a right only
where the program needs it; each exception says why. Says; writes and starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from matinee.ops.layout import System
from matinee.ops.topology import Place, Topology

FIRST_FREE_PORT = 1024  # Linux lets only CAP_NET_BIND_SERVICE listen below it
_FILES = 65_536
_USERS = {
    "server": "matinee",
    "database": "postgres",
    "etcd": "etcd",
    "redis": "redis",
    "sentinel": "redis",
    "front": "haproxy",
}


@dataclass(frozen=True)
class Unit:
    """One unit. A field that is true grants what the template refuses by default."""

    title: str
    user: str
    command: str
    type: str = "exec"
    environment_files: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    kill_mode: str = "mixed"
    stop_s: int = 35
    restart: str = "always"
    success: str = ""
    state: str = ""
    has_runtime: bool = False
    files: int = _FILES
    oom_score: int = 0
    devices: tuple[str, ...] = ()
    binds_low_port: bool = False
    makes_code: bool = False  # compiles at run time, which needs memory that is writable and executable
    sees_system: bool = False  # reads /proc/stat or /proc/meminfo
    keeps_ipc: bool = False  # its shared memory outlives the unit
    denied_calls: str = ""  # of @system-service, those that it never makes


def user_of(topology: Topology, role: str) -> str:
    """Return the system user that runs a role; its group has the same name and may read the role's files."""
    if role == "balancer":
        return "haproxy" if topology.balancer == "haproxy" else "www-data"
    return _USERS[role]


def unit_of(topology: Topology, node: Place, config: Path, patroni: str) -> Unit | None:
    """Return the unit that runs a node from its file; None when Debian's own unit runs it."""
    if node.role == "database" and not topology.high_availability:
        return None
    if node.role == "database":
        return _database(node, config, patroni)
    if node.role == "balancer":
        return (_haproxy_balancer if topology.balancer == "haproxy" else _nginx)(topology, node, config)
    described: Callable[[Topology, Place, Path], Unit] = {
        "server": _server,
        "front": _front,
        "etcd": _etcd,
        "redis": _redis,
        "sentinel": _sentinel,
    }[node.role]
    return described(topology, node, config)


def _server(topology: Topology, node: Place, config: Path) -> Unit:
    return Unit(
        title=f"Matinee {node.name}",
        user="matinee",
        command=f"{topology.program} serve",
        environment_files=("/etc/matinee/secrets.env", str(config)),
        stop_s=45,  # SIGTERM: unready, drained, ended
        state="matinee",
        binds_low_port=_binds_low_port(node),
        sees_system=True,  # the cache takes a tenth of the memory, which /proc/meminfo states
    )


def _database(node: Place, config: Path, patroni: str) -> Unit:
    return Unit(
        title=f"Patroni {node.name}",
        user="postgres",
        command=f"{patroni} {config}",
        environment_files=("/etc/matinee/patroni.env",),
        reload=("/bin/kill -HUP $MAINPID",),
        # PostgreSQL continues without a Patroni that was killed, and the next Patroni takes it over.
        kill_mode="process",
        stop_s=60,
        restart="on-failure",
        state=f"matinee-{node.name}",
        oom_score=-500,
        devices=("/dev/watchdog rw",),
        makes_code=True,  # PostgreSQL compiles expensive queries (jit)
        sees_system=True,  # Patroni reads the time of the boot from /proc/stat
        keeps_ipc=True,
    )


def _haproxy(node: Place, config: Path, title: str, files: int) -> Unit:
    check = f"/usr/sbin/haproxy -c -q -f {config}"
    return Unit(
        title=title,
        user="haproxy",
        command=f"/usr/sbin/haproxy -Ws -f {config}",
        type="notify",
        reload=(check, "/bin/kill -USR2 $MAINPID"),
        success="143",  # HAProxy's master ends with it after SIGTERM
        state=f"matinee-{node.name}",
        has_runtime=True,
        files=files,
        binds_low_port=_binds_low_port(node),
        makes_code=True,  # PCRE2 compiles regular expressions; HAProxy refuses its file when that fails
    )


def _front(topology: Topology, node: Place, config: Path) -> Unit:  # noqa: ARG001  all are called alike
    return _haproxy(node, config, "The front of the databases", _FILES)


def _haproxy_balancer(topology: Topology, node: Place, config: Path) -> Unit:
    socket, state = System().socket(node), System().state(node)
    unit = _haproxy(node, config, "The balancer", _files(topology))
    check, signal = unit.reload
    # Without the states a reload would send requests to drained servers again: if they cannot be saved, nothing is reloaded.
    save = f"/bin/sh -ec 'echo show servers state | socat -t 5 - UNIX-CONNECT:{socket} > {state}.new; mv {state}.new {state}'"
    # HAProxy warns of a missing file; the number is the format of an empty one.
    return replace(unit, prepare=(f"/bin/sh -ec 'echo 1 > {state}'",), reload=(check, save, signal))


def _nginx(topology: Topology, node: Place, config: Path) -> Unit:
    command = f"/usr/sbin/nginx -c {config}"
    return Unit(
        title="The balancer",
        user="www-data",
        command=f"{command} -g 'daemon off;'",
        reload=(f"{command} -t -q", "/bin/kill -HUP $MAINPID"),
        state=f"matinee-{node.name}",
        files=_files(topology),
        binds_low_port=_binds_low_port(node),
    )


def _etcd(topology: Topology, node: Place, config: Path) -> Unit:  # noqa: ARG001
    # Not `notify`: the first start would wait for the other hosts, and `systemctl start` with it.
    command = f"/usr/bin/etcd --config-file {config}"
    return Unit(title=f"etcd {node.name}", user="etcd", command=command, state=f"matinee-{node.name}")


def _redis(topology: Topology, node: Place, config: Path) -> Unit:  # noqa: ARG001
    return Unit(
        title=f"Redis {node.name}",
        user="redis",
        command=f"/usr/bin/redis-server {config}",
        state=f"matinee-{node.name}",
        binds_low_port=_binds_low_port(node),
        denied_calls="@privileged @resources",
    )


def _sentinel(topology: Topology, node: Place, config: Path) -> Unit:  # noqa: ARG001
    data = System().data(node)
    # Sentinel writes into its file. It gets a copy, and a new copy when the installed file has changed.
    seed = f"cmp -s {config} {data}/seed.conf || {{ cp {config} {data}/sentinel.conf; cp {config} {data}/seed.conf; }}"
    return Unit(
        title=f"Redis Sentinel {node.name}",
        user="redis",
        command=f"/usr/bin/redis-server {data}/sentinel.conf --sentinel",
        prepare=(f"/bin/sh -ec '{seed}'",),
        state=f"matinee-{node.name}",
        denied_calls="@privileged @resources",
    )


def _binds_low_port(node: Place) -> bool:
    return any(port < FIRST_FREE_PORT for port in node.ports.values())


def _files(topology: Topology) -> int:
    """Return how many files a balancer may open: two for each client, and some for listeners and checks."""
    return max(_FILES, topology.sizes.client_connections * 2 + 2_000)

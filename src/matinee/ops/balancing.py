"""Take servers out of the balancer's rotation and back into it, so that what is done to them costs nobody a request.

Called by the commands that drain, restart, add and remove servers. HAProxy is told over its socket, without a reload; nginx
reads its file anew. Either way the rendered file says the same, so that a later reload changes nothing.
"""

from __future__ import annotations

import csv
from contextlib import suppress

from matinee.errors import OperatorError
from matinee.ops import haproxy_socket
from matinee.ops.cluster import Cluster
from matinee.ops.engines import EngineNode
from matinee.ops.node_config import server_options
from matinee.ops.processes import happens
from matinee.ops.service import ServerNode

IDLE_WITHIN_S = 20.0  # no request takes longer than its deadline
UP_WITHIN_S = 15.0  # two looks, a second apart, and a start that the balancer may have missed
_BACKENDS = ("read", "write")


def drain(cluster: Cluster, server: ServerNode) -> None:
    """Let a server finish what it has and get nothing new; return when it has nothing left. Raises: OperatorError."""
    cluster.drained.add(server.name)
    balancer = _change(cluster, server, "drain")
    if balancer is not None and not happens(lambda: _sessions(cluster, balancer, server) == 0, IDLE_WITHIN_S):
        raise OperatorError(f"{server.name} still works on requests after {IDLE_WITHIN_S:g} s; see `matinee cluster status`.")


def undrain(cluster: Cluster, server: ServerNode) -> None:
    """Let a server get requests again; return when the balancer sends it some. Raises: OperatorError."""
    cluster.drained.discard(server.name)
    balancer = _change(cluster, server, "ready")
    if balancer is not None and not happens(lambda: is_up(cluster, server), UP_WITHIN_S):
        raise OperatorError(f"The balancer does not take {server.name} back: see `matinee cluster logs balancer`.")


def restart(cluster: Cluster, server: ServerNode) -> None:
    """Start a server anew with what is rendered for it now, at the cost of no request. Raises: OperatorError."""
    has_peers = _balancer(cluster) is not None and len(cluster.servers) > 1
    if has_peers:
        drain(cluster, server)
    # nginx does not say when a server has nothing left; that one waits as for any balancer.
    server.end(is_drained=has_peers and cluster.shape.balancer == "haproxy")
    cluster.render()
    server.environment = cluster.server_environment(server.name)
    cluster.start(server)
    if has_peers:
        undrain(cluster, server)


def join(cluster: Cluster, server: ServerNode) -> None:
    """Let the balancer send requests to a server that it has not known. Raises: OperatorError."""
    cluster.render()
    balancer = _balancer(cluster)
    if balancer is None:
        return
    if cluster.shape.balancer == "nginx":
        balancer.reload()
        return
    for backend in _BACKENDS:
        name = f"{backend}/{server.name}"
        said = say(cluster, f"add server {name} 127.0.0.1:{server.port} {server_options(cluster.topology().sizes)}")
        if "registered" not in said:
            raise OperatorError(f"The balancer does not take {server.name}: {said}")
        say(cluster, f"enable health {name}; enable server {name}")
    if not happens(lambda: is_up(cluster, server), UP_WITHIN_S):
        raise OperatorError(f"The balancer does not take {server.name}: see `matinee cluster logs balancer`.")


def leave(cluster: Cluster, server: ServerNode) -> None:
    """Take a drained server out for good; the balancer forgets it. Raises: OperatorError."""
    cluster.drained.discard(server.name)
    cluster.servers.remove(server)
    cluster.render()
    balancer = _balancer(cluster)
    if balancer is None:
        return
    if cluster.shape.balancer == "nginx":
        balancer.reload()
        return
    for backend in _BACKENDS:
        say(cluster, f"set server {backend}/{server.name} state maint")
        if not happens(lambda backend=backend: _forgets(cluster, f"{backend}/{server.name}"), IDLE_WITHIN_S):  # type: ignore[misc]
            raise OperatorError(f"The balancer does not forget {server.name}; `matinee cluster restart balancer` makes it.")


def _forgets(cluster: Cluster, name: str) -> bool:
    return "deleted" in say(cluster, f"del server {name}")


def is_up(cluster: Cluster, server: ServerNode) -> bool:
    """Return whether the balancer sends requests to a server."""
    if cluster.shape.balancer == "nginx":
        return server.is_ready()
    states = [row["status"] for row in statistics(cluster) if row["svname"] == server.name]
    return len(states) == len(_BACKENDS) and all(state.startswith("UP") for state in states)


def statistics(cluster: Cluster) -> list[dict[str, str]]:
    """Return HAProxy's lines of its servers; none when it does not answer."""
    with suppress(OperatorError):
        text = say(cluster, "show stat")
        return [row for row in csv.DictReader(text.lstrip("# ").splitlines()) if row["pxname"] in _BACKENDS]
    return []


def say(cluster: Cluster, order: str) -> str:
    """Return what HAProxy answers to an order. Raises: OperatorError when it does not."""
    return haproxy_socket.ask(cluster.socket_folder() / "balancer.sock", order)


def _balancer(cluster: Cluster) -> EngineNode | None:
    node = cluster.engine("balancer")
    return node if node is not None and node.state() == "running" else None


def _change(cluster: Cluster, server: ServerNode, state: str) -> EngineNode | None:
    """Tell the balancer a server's new state, and the file too; return the balancer if one runs."""
    cluster.render()
    cluster.save()
    balancer = _balancer(cluster)
    if balancer is None:
        return None
    if cluster.shape.balancer == "nginx":
        balancer.reload()
        return balancer
    # A weight of 0, as the file has it after a reload, would stay when the state changes.
    weight = "0" if state == "drain" else "1"
    for backend in _BACKENDS:
        say(cluster, f"set server {backend}/{server.name} state {state}; set server {backend}/{server.name} weight {weight}")
    return balancer


def _sessions(cluster: Cluster, balancer: EngineNode, server: ServerNode) -> int:
    """Return how many requests the balancer has with a server. nginx does not say; its server is drained by its own end."""
    if cluster.shape.balancer == "nginx" or balancer.state() != "running":
        return 0
    return sum(int(row["scur"] or 0) for row in statistics(cluster) if row["svname"] == server.name)

"""`cluster drain`, `restart`, `add`, `remove`, `rolling-restart`, `switchover`: what is changed while a cluster runs.

Each of them costs nobody a request where there are a balancer and a second server.
"""

from __future__ import annotations

from typing import Annotated

import typer

from matinee.cli import cluster_up
from matinee.cli.cluster_home import Name, alone
from matinee.cli.output import tell
from matinee.errors import OperatorError
from matinee.ops import balancing
from matinee.ops.cluster import Cluster, Node
from matinee.ops.database_node import DatabaseNode
from matinee.ops.patroni import PatroniNode
from matinee.ops.processes import happens
from matinee.ops.service import ServerNode

_KINDS = ("server", "follower")
_LEADS_WITHIN_S = 30.0


def drain(name: Name) -> None:
    """Let a server finish what it has and get nothing new, until `undrain`."""
    with alone() as (_, cluster):
        name = (server := _balanced(cluster, name)).name
        balancing.drain(cluster, server)
    tell(f"{name} has nothing left to do and gets nothing new. `matinee cluster undrain {name}` brings it back.")


def undrain(name: Name) -> None:
    """Let a drained server get requests again."""
    with alone() as (_, cluster):
        name = (server := _balanced(cluster, name)).name
        balancing.undrain(cluster, server)
    tell(f"{name} gets requests again.")


def restart(name: Name) -> None:
    """End a node and start it again; a server is drained first where others go on."""
    with alone() as (_, cluster):
        node = cluster.node(name)
        name = node.name
        if isinstance(node, ServerNode) and node.state() == "running":
            balancing.restart(cluster, node)
        else:
            _end_and_start(cluster, node)
    tell(f"{name} runs.")


def rolling_restart(
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the servers from now on; may be repeated."),
    ] = None,
) -> None:
    """Start every server anew, one after another, each drained before: for a new version or new settings."""
    with alone() as (_, cluster):
        for change in changes or []:
            _change_setting(cluster, change)
        for server in cluster.servers:
            tell(f"Restarting {server.name} ...")
            balancing.restart(cluster, server)
    tell(f"{len(cluster.servers)} server(s) were started anew.")


def add(kind: Annotated[str, typer.Argument(help="What to add: server or follower.")]) -> None:
    """Add a server, which gets its share of the requests, or a follower, which the servers learn of one after another."""
    with alone() as (_, cluster):
        cluster.leader  # noqa: B018  without one nothing can be added, and this says what to do
        if kind == "server":
            node: Node = cluster_up.add_server(cluster)
            balancing.join(cluster, cluster.servers[-1])
            cluster.wanted["servers"] = len(cluster.servers)
        elif kind == "follower":
            node = _add_follower(cluster)
            for server in cluster.servers:
                tell(f"Restarting {server.name}, to know of {node.name} ...")
                balancing.restart(cluster, server)
        else:
            raise OperatorError(f"{kind!r} cannot be added; type one of: {', '.join(_KINDS)}.")
        cluster.save()
    tell(f"{node.name} runs at {node.address}.")


def remove(name: Name) -> None:
    """Drain a server, end it and forget it."""
    with alone() as (_, cluster):
        node = _server(cluster, name)
        name = node.name
        if len(cluster.servers) == 1:
            raise OperatorError(f"{name} is the only server; end the whole cluster with `matinee cluster down`.")
        if node.state() == "running":
            balancing.drain(cluster, node)
        node.end()
        balancing.leave(cluster, node)
        cluster.wanted["servers"] = len(cluster.servers)
        cluster.save()
    tell(f"{name} is gone.")


def switchover(
    name: Annotated[str | None, typer.Argument(help="Who is to lead; the follower that is farthest if not said.")] = None,
) -> None:
    """Let another node of PostgreSQL lead, as planned: reads go on, writes pause for a few seconds, nothing is lost."""
    with alone() as (_, cluster):
        if not cluster.shape.high_availability:
            raise OperatorError(
                "Only a cluster made with --ha has others that may lead; begin anew: `matinee cluster up --ha`."
            )
        leader = cluster.wait_for_leader()
        name = cluster.node(name).name if name else None
        if name == leader.name:
            raise OperatorError(f"{name} leads already. Nothing was done.")
        if name is not None and name not in [node.name for node in cluster.databases]:
            raise OperatorError(f"{name} is no PostgreSQL; choose of {', '.join(node.name for node in cluster.followers)}.")
        assert isinstance(leader.postgres, PatroniNode), "a cluster with high availability has no other kind"
        leader.postgres.switch_to(name, leader.name)
        happens(lambda: cluster.wait_for_leader().name != leader.name, _LEADS_WITHIN_S)
        tell(f"{cluster.leader.name} leads; {leader.name} follows it.")
        cluster.save()


def _server(cluster: Cluster, name: str) -> ServerNode:
    node = cluster.node(name)
    if not isinstance(node, ServerNode):
        raise OperatorError(f"{name} is no server; only servers are behind the balancer.")
    return node


def _balanced(cluster: Cluster, name: str) -> ServerNode:
    node = _server(cluster, name)
    if cluster.engine("balancer") is None:
        raise OperatorError(
            "There is no balancer that could send requests elsewhere; `matinee cluster up --balancer haproxy` makes one."
        )
    return node


def _end_and_start(cluster: Cluster, node: Node) -> None:
    node.end()
    cluster.render()
    if isinstance(node, DatabaseNode) and isinstance(node.postgres, PatroniNode):
        cluster_up.launch(cluster, [node])
        return
    if isinstance(node, ServerNode):
        cluster_up.tell_server(cluster, node)
    cluster.start(node)


def _change_setting(cluster: Cluster, change: str) -> None:
    name, is_change, value = change.partition("=")
    if not is_change or not name.isidentifier():
        raise OperatorError(f"{change!r} is no setting; write NAME=VALUE, as in --set MATINEE_LOCAL_CACHE_BYTES=64000000.")
    cluster.shape.settings[name] = value


def _add_follower(cluster: Cluster) -> DatabaseNode:
    if not cluster.shape.high_availability:
        cluster.add_follower()
        cluster.wanted["followers"] = len(cluster.followers)
        return cluster.databases[-1]
    node = cluster.add_member()
    cluster.render()
    cluster_up.launch(cluster, [node])
    front = cluster.engine("front")
    if front is not None:
        front.reload()
    cluster.wanted["followers"] = len(cluster.databases) - 1
    return node

"""`cluster`: a leader, followers and servers on this machine, from one command; and the faults to try on them.

How a cluster looks is shown by cluster_status.py, how it comes up is cluster_up.py, what is changed while it runs is
cluster_change.py, and what other machines are given is cluster_render.py.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Annotated

import typer

from matinee import config as configuration
from matinee.cli import cluster_home, cluster_status
from matinee.cli.cluster_home import Name, alone
from matinee.cli.cluster_up import Wanted, launch, raise_up, tell_server
from matinee.cli.home import prepare_home
from matinee.cli.output import Json, as_json, table, tell
from matinee.config import without_password
from matinee.errors import OperatorError
from matinee.ops import cluster_file
from matinee.ops.cluster import Cluster, Node
from matinee.ops.database_node import DatabaseNode
from matinee.ops.patroni import PatroniNode
from matinee.ops.postgres import make_passable
from matinee.ops.processes import happens, tail
from matinee.ops.service import ServerNode
from matinee.ops.topology import BALANCERS, BALANCES

_SIGNAL_WITHIN_S = 5.0


def up(
    followers: Annotated[
        int | None, typer.Option(min=0, max=9, help="Streaming followers; 2 if not said, or as many as there are.")
    ] = None,
    servers: Annotated[int | None, typer.Option(min=0, max=16, help="Servers; 1 if not said, or as many as there are.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Port of the balancer, or without one of the first server; else a free one."),
    ] = None,
    sample: Annotated[bool, typer.Option(help="Load the sample catalogue into an empty one.")] = True,
    ha: Annotated[
        bool | None, typer.Option("--ha/--no-ha", help="PostgreSQL under Patroni with three etcd: another node takes over.")
    ] = None,
    balancer: Annotated[
        str | None, typer.Option(help="haproxy, nginx or none; haproxy before several servers, if not said.")
    ] = None,
    balance: Annotated[
        str | None, typer.Option(help="least-connections, or bounded-load: the same movie goes to the same server.")
    ] = None,
    micro_cache: Annotated[
        bool | None,
        typer.Option("--micro-cache/--no-micro-cache", help="The balancer answers again for a second what it was answered."),
    ] = None,
    redis: Annotated[bool | None, typer.Option("--redis", help="A Redis that the servers share.")] = None,
) -> None:
    """Make a leader, followers and servers on loopback, load the sample, and serve. Safe to run again."""
    for word, known in ((balancer, (*BALANCERS, "none")), (balance, BALANCES)):
        if word is not None and word not in known:
            raise OperatorError(f"{word!r} is unknown; choose one of: {', '.join(known)}.")
    config = configuration.load()
    home = cluster_home.home(config)
    with suppress(OSError):  # which prepare_home reports
        make_passable(home)  # before it is made for its owner alone: PostgreSQL's user goes through it to its data
    config = prepare_home(config)
    with cluster_file.alone(home):
        cluster = cluster_file.load(home) or cluster_file.new(home)
        cluster.look_who_leads()
        try:
            raise_up(cluster, config, Wanted(followers, servers, port, sample, ha, balancer, balance, micro_cache, redis))
        except BaseException:  # an interruption too must leave nothing behind that was begun
            if cluster.started:
                tell("The cluster did not come up; what this command started is being ended.")
            cluster.undo()
            raise
    cluster_status.show(cluster_status.look(cluster), cluster_status.PLACES)
    _say_what_is_next(cluster)


def _say_what_is_next(cluster: Cluster) -> None:
    reached = [node for node in cluster.engines if node.role == "balancer"] or cluster.servers
    for server in reached[:1]:
        tell(f"API {server.address}/v1/movies, docs {server.address}/docs, admin {server.address}/admin/")
    tell(f"Data and logs are in {cluster.data}" + (f" and {cluster.home}." if cluster.data != cluster.home else "."))
    victim = cluster.followers[0].name if cluster.followers else cluster.nodes[0].name
    tell(f"`matinee cluster status` looks at it, `matinee cluster kill {victim}` breaks it, `matinee cluster down` ends it.")


def down(delete: Annotated[bool, typer.Option("--delete", help="Delete the catalogue and all data too.")] = False) -> None:
    """End everything that the cluster runs; the data stays."""
    with alone() as (_, cluster):
        if delete:
            cluster.delete()
        else:
            cluster.end()
    tell(
        "The cluster is down, and its data is deleted."
        if delete
        else "The cluster is down. `matinee cluster up` starts it again."
    )


def status(
    as_json_: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
) -> None:
    """Show every node: role, state, lag, position, and what the server thinks of it; exit code 1 when one is not well."""
    if watch:
        cluster_status.watch(cluster_home.load)
        return
    rows = cluster_status.look(cluster_home.load())
    if as_json_:
        as_json(rows)
    else:
        cluster_status.show(rows, cluster_status.HEALTH)
    raise typer.Exit(0 if all(cluster_status.is_well(row) for row in rows) else 1)


def kill(name: Name) -> None:
    """Kill a node with -9, with everything below it."""
    _signal(name, signal.SIGKILL, "dead")


def stop(name: Name) -> None:
    """Freeze a node (SIGSTOP): it accepts connections and never answers."""
    _signal(name, signal.SIGSTOP, "stopped")


def cont(name: Name) -> None:
    """Let a frozen node go on (SIGCONT)."""
    _signal(name, signal.SIGCONT, "running")


def _signal(name: str, number: signal.Signals, expected: str) -> None:
    with alone() as (_, cluster):
        node = cluster.node(name)
        name = node.name
        if node.state() == "dead":
            raise OperatorError(f"{name} does not run; start it with `matinee cluster start {name}`.")
        node.send(number)
        if not happens(lambda: node.state() == expected, _SIGNAL_WITHIN_S):
            raise OperatorError(
                f"{name} is {node.state()}, although it was sent {number.name}; see `matinee cluster logs {name}`."
            )
    tell(f"{name} is {expected}.{_remedy(name, expected)}")


def _remedy(name: str, state: str) -> str:
    command = {"dead": "start", "stopped": "cont"}.get(state)
    return f" `matinee cluster {command} {name}` brings it back." if command else ""


def start(name: Name) -> None:
    """Start a node that does not run."""
    with alone() as (_, cluster):
        node = cluster.node(name)
        name = node.name
        if node.state() != "dead":
            hint = f"; `matinee cluster cont {name}` lets it go on" if node.state() == "stopped" else ""
            raise OperatorError(f"{name} is {node.state()} already{hint}. Nothing was done.")
        if isinstance(node, ServerNode):
            tell_server(cluster, node)
        _start_or_undo(cluster, node)
    tell(f"{name} runs.")


def rebuild(name: Name) -> None:
    """Make a follower anew from the leader, as one whose replication slot was lost needs it; its old data is deleted."""
    with alone() as (_, cluster):
        node = cluster.node(name)
        name = node.name
        if isinstance(node, DatabaseNode) and isinstance(node.postgres, PatroniNode):
            raise OperatorError(
                f"Patroni makes {name} anew by itself when it has to; `matinee cluster restart {name}` lets it try."
            )
        if not isinstance(node, DatabaseNode) or node.role != "follower":
            raise OperatorError(f"{name} is no follower; only what follows the leader can be made from it.")
        if cluster.leader.state() != "running":
            raise OperatorError("The leader does not run, and nothing can be made from it: `matinee cluster start leader`.")
        cluster.rebuild(node)
    tell(f"{name} was made anew and runs.")


def _start_or_undo(cluster: Cluster, node: Node) -> None:
    cluster.render()
    try:
        if isinstance(node, DatabaseNode) and isinstance(node.postgres, PatroniNode):
            launch(cluster, [node])
        else:
            cluster.start(node)
    except BaseException:
        node.end()
        cluster.save()
        raise


def url(
    name: Annotated[str | None, typer.Argument(help="The node's name; without one, every node's.")] = None,
    passwords: Annotated[bool, typer.Option("--passwords", help="Show the passwords too.")] = False,
    owner: Annotated[bool, typer.Option("--owner", help="As the owner of the tables, who migrates.")] = False,
    as_json_: Json = False,
) -> None:
    """Print where a node is reached: of PostgreSQL the leader as the role that writes, a follower as the one that reads."""
    cluster = cluster_home.load()
    nodes = [cluster.node(name, is_any=True)] if name else cluster.nodes
    found = {node.name: _url(cluster, node, owner=owner) for node in nodes}
    shown = found if passwords else {key: without_password(value) for key, value in found.items()}
    if as_json_:
        as_json(shown)
    elif name:
        typer.echo(shown[nodes[0].name])
    else:
        table(("name", "url"), list(shown.items()))


def _url(cluster: Cluster, node: Node, *, owner: bool) -> str:
    if not isinstance(node, DatabaseNode):
        return node.address
    if owner:
        return cluster.owner_url(node)
    return cluster.writer_url() if node.role == "leader" else cluster.reader_url(node)


def logs(name: Name) -> None:
    """Print the end of a node's log."""
    node = cluster_home.load().node(name, is_any=True)
    tell(f"The end of {node.log}:")
    typer.echo(tail(node.log))

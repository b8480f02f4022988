"""`cluster`: a leader, followers and servers on this machine, from one command; and the faults to try on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from matinee import config as configuration
from matinee.cli.home import prepare_home
from matinee.cli.output import Json, as_json, table, tell
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.ops import cluster as clusters
from matinee.ops.cluster import Cluster, DatabaseNode
from matinee.ops.processes import tail

Name = Annotated[str, typer.Argument(help="The node's name, as `matinee cluster status` shows it.")]
_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]


def up(
    followers: Annotated[int, typer.Option(min=0, max=9, help="Streaming followers, which answer all reads.")] = 2,
    servers: Annotated[int, typer.Option(min=0, max=16, help="Servers.")] = 1,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the first server; else a free one.")] = None,
    sample: Annotated[bool, typer.Option(help="Load the sample catalogue into an empty one.")] = True,
) -> None:
    """Make a leader, followers and servers on loopback, load the sample, and serve. Safe to run again."""
    config = prepare_home(configuration.load())
    home = _home(config)
    with clusters.alone(home):
        cluster = clusters.load(home) or clusters.new(home)
        try:
            _raise_up(cluster, config, followers, servers, port, sample=sample)
        except OperatorError:
            tell("The cluster did not come up; what was started is ended.")
            cluster.end()
            raise
        _show(cluster)
    tell("`matinee cluster status` looks at it, `matinee cluster kill follower-1` breaks it, `matinee cluster down` ends it.")


def _raise_up(cluster: Cluster, config: Config, followers: int, servers: int, port: int | None, *, sample: bool) -> None:
    for node in cluster.databases:
        if node.state() == "dead":
            tell(f"Starting {node.name} ...")
            node.start()
            cluster.save()
    if not cluster.databases:
        tell("Making the leader ...")
        cluster.add_leader()
    _matinee(cluster, config, "migrate")
    cluster.set_passwords()
    if sample and cluster.is_empty():
        _matinee(cluster, config, "sample")
    if not cluster.servers:
        _matinee(cluster, config, "user", "create-admin", "--if-missing")
    while len(cluster.followers) < followers:
        tell(f"Making follower-{len(cluster.followers) + 1} ...")
        cluster.add_follower()
    for server in cluster.servers:
        if server.state() == "dead":
            tell(f"Starting {server.name} ...")
            server.environment = _environment(cluster, config)
            server.start()
            cluster.save()
    while len(cluster.servers) < servers:
        tell(f"Starting server-{len(cluster.servers) + 1} ...")
        cluster.add_server([*_MATINEE, "serve"], _environment(cluster, config), None if cluster.servers else port)


def _environment(cluster: Cluster, config: Config) -> dict[str, str]:
    return {
        "MATINEE_HOME": str(config.home),
        "DATABASE_URL": cluster.writer_url(),
        "DATABASE_FOLLOWER_URLS": ",".join(cluster.reader_urls()),
    }


def _matinee(cluster: Cluster, config: Config, *words: str) -> None:
    """Run another command as the catalogue's owner; it speaks for itself."""
    environment = os.environ | {
        "MATINEE_HOME": str(config.home),
        "DATABASE_URL": cluster.owner_url(),
        "DATABASE_FOLLOWER_URLS": "",
    }
    done = subprocess.run([*_MATINEE, *words], env=environment, stdout=sys.stderr, check=False)  # noqa: S603  our own words
    if done.returncode:
        raise OperatorError(f"`matinee {' '.join(words)}` failed on the leader (exit code {done.returncode}).")


def status(as_json_: Json = False) -> None:
    """Show every node: role, state, lag, position, and what the server thinks of it; exit code 1 when one does not run."""
    cluster = _load()
    rows = _rows(cluster)
    if as_json_:
        as_json(rows)
    else:
        _print(rows)
    raise typer.Exit(0 if all(row["state"] == "running" for row in rows) else 1)


def kill(name: Name) -> None:
    """Kill a node with -9, with everything below it."""
    _signal(name, signal.SIGKILL, "killed")


def stop(name: Name) -> None:
    """Freeze a node (SIGSTOP): it accepts connections and never answers."""
    _signal(name, signal.SIGSTOP, "frozen")


def cont(name: Name) -> None:
    """Let a frozen node go on (SIGCONT)."""
    _signal(name, signal.SIGCONT, "going on")


def start(name: Name) -> None:
    """Start a node that does not run."""
    with clusters.alone(_home(configuration.load())):
        cluster = _load()
        node = cluster.node(name)
        if node.state() != "dead":
            raise OperatorError(f"{name} is {node.state()}; nothing was done.")
        node.start()
        cluster.save()
    tell(f"{name} runs.")


def logs(name: Name) -> None:
    """Print the end of a node's log."""
    node = _load().node(name)
    typer.echo(tail(node.log))


def down(delete: Annotated[bool, typer.Option("--delete", help="Delete the data too.")] = False) -> None:
    """End everything that the cluster runs; the data stays."""
    with clusters.alone(_home(configuration.load())):
        cluster = _load()
        if delete:
            cluster.delete()
        else:
            cluster.end()
    tell(
        "The cluster is down, and its data is deleted."
        if delete
        else "The cluster is down. `matinee cluster up` starts it again."
    )


def _signal(name: str, number: signal.Signals, done: str) -> None:
    node = _load().node(name)
    if node.state() == "dead":
        raise OperatorError(f"{name} does not run; start it with `matinee cluster start {name}`.")
    node.send(number)
    tell(f"{name} is {done}.")


def _home(config: Config) -> Path:
    return config.home / "cluster"


def _load() -> Cluster:
    cluster = clusters.load(_home(configuration.load()))
    if cluster is None:
        raise OperatorError("There is no cluster in this MATINEE_HOME; make one with `matinee cluster up`.")
    return cluster


def _rows(cluster: Cluster) -> list[dict[str, Any]]:
    """Return a line for each node: what the processes say, what PostgreSQL says, and what the first ready server says."""
    said = clusters.replication(cluster)
    views = [view for server in cluster.servers if (view := server.readiness()) is not None]
    seen = {line["name"]: line for view in views[:1] for line in view["dependencies"]}
    rows = []
    for node in cluster.nodes:
        row: dict[str, Any] = {
            "name": node.name,
            "role": node.role,
            "state": node.state(),
            "pid": node.process.pid if node.process else None,
            "address": node.address,
            "log": str(node.log),
        }
        if isinstance(node, DatabaseNode):
            row |= {"position": None, "lag_bytes": None, "lag_s": None} | said.get(node.name, {})
            row["seen_by_server"] = seen.get(node.address)
        rows.append(row)
    return rows


def _show(cluster: Cluster) -> None:
    _print(_rows(cluster))


def _print(rows: list[dict[str, Any]]) -> None:
    columns = ("name", "role", "state", "pid", "address", "position", "lag_bytes", "lag_s", "reads", "in_flight", "health")
    lines = []
    for row in rows:
        seen = row.get("seen_by_server") or {}
        health = seen.get("status", "") + (f" ({seen['reason']})" if seen.get("reason") else "")
        shown = row | {"reads": seen.get("reads"), "in_flight": seen.get("in_flight"), "health": health}
        lines.append(["" if shown.get(column) is None else shown[column] for column in columns])
    table(columns, lines)

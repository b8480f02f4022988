"""What `cluster status` shows: what the processes, the instances and the first server that answers say of each node."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matinee.cli.output import drawn_table, table
from matinee.ops import balancing
from matinee.ops.cluster import Cluster, Node
from matinee.ops.database_node import DatabaseNode
from matinee.ops.replication import replication
from matinee.ops.service import ServerNode

HEALTH = ("name", "role", "state", "pid", "address", "position", "lag_bytes", "lag_s", "reads", "in_flight", "health")
PLACES = ("name", "role", "state", "pid", "address", "log")
_LONGEST_REASON = 80  # the whole of it is in --json
_WATCH_EVERY_S = 1.0


def look(cluster: Cluster) -> list[dict[str, Any]]:
    """Return a line for each node. Takes a few seconds at most, whatever is frozen."""
    said = replication(cluster)
    servers = {server.name: server.readiness() for server in cluster.servers if server.state() == "running"}
    views = [view for view in servers.values() if view is not None]
    seen = {line.get("name"): line for line in (views[0].get("dependencies", []) if views else [])}
    balanced = _balanced(cluster)
    rows = []
    for node in cluster.nodes:
        row = _row(node)
        if isinstance(node, DatabaseNode):
            row |= {"position": None, "lag_bytes": None, "lag_s": None, "trouble": None} | said.get(node.name, {})
            row["seen_by_server"] = seen.get(node.address)
        elif isinstance(node, ServerNode):
            row |= _server(node, servers.get(node.name)) | {"balancer": balanced.get(node.name)}
            row["ops_address"] = node.ops_address
        else:
            row["trouble"] = None if node.state() != "running" or node.is_ready() else "it does not answer"
        rows.append(row)
    return rows


def watch(load: Callable[[], Cluster]) -> None:
    """Show the cluster again and again until an interruption: in place on a terminal, one table after another elsewhere."""
    with contextlib.suppress(KeyboardInterrupt):
        if not sys.stdout.isatty():
            while True:
                show(look(load()), HEALTH)
                threading.Event().wait(_WATCH_EVERY_S)
        from rich.live import Live

        with Live(auto_refresh=False, screen=True) as live:
            while True:
                live.update(drawn_table(HEALTH, _cells(look(load()), HEALTH)), refresh=True)
                threading.Event().wait(_WATCH_EVERY_S)


def _balanced(cluster: Cluster) -> dict[str, str]:
    """Return what the balancer thinks of each server: "UP", "DRAIN", "DOWN" ...; nginx does not say."""
    node = cluster.engine("balancer")
    if node is None or node.state() != "running" or cluster.shape.balancer != "haproxy":
        return {}
    return {row["svname"]: row["status"] for row in balancing.statistics(cluster) if row["pxname"] == "read"}


def _row(node: Node) -> dict[str, Any]:
    state = node.state()
    pid = node.process.pid if node.process and state != "dead" else None
    return {"name": node.name, "role": node.role, "state": state, "pid": pid, "address": node.address, "log": str(node.log)}


def _server(node: ServerNode, said: Mapping[str, Any] | None) -> dict[str, Any]:
    if node.state() != "running":
        return {"trouble": None, "readiness": None}
    if said is None:
        return {"trouble": "it does not answer /readyz", "readiness": None}
    is_ready = said.get("status") != "not ready"
    return {
        "trouble": None if is_ready else said.get("reason"),
        "readiness": {key: said.get(key) for key in ("status", "reason")},
    }


def is_well(row: Mapping[str, Any]) -> bool:
    """Return whether a node runs and answers, and a follower receives what the leader writes."""
    return row["state"] == "running" and not row["trouble"]


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print these columns of the lines as a table."""
    table(columns, _cells(rows, columns))


def _cells(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    shown = [dict(row) | _shown(row) for row in rows]
    return [["" if row.get(column) is None else row[column] for column in columns] for row in shown]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    seen = row.get("seen_by_server") or row.get("readiness") or {}
    reason = f" ({seen['reason'][:_LONGEST_REASON]})" if seen.get("reason") else ""
    balanced = row.get("balancer")
    parts = (
        row["trouble"],
        f"{seen.get('status', '')}{reason}",
        f"balancer: {balanced}" if balanced not in {None, "UP"} else "",
    )
    health = "; ".join(part for part in parts if part)
    lag_s = row.get("lag_s")
    return {
        "reads": seen.get("reads"),
        "in_flight": seen.get("in_flight"),
        "health": health,
        "lag_s": None if lag_s is None else round(lag_s, 1),
    }

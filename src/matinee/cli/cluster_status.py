"""What `cluster status` shows: what the processes, the instances and the first server that answers say of each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matinee.cli.output import table
from matinee.ops.cluster import Cluster, DatabaseNode, Node
from matinee.ops.replication import replication
from matinee.ops.service import ServerNode

HEALTH = ("name", "role", "state", "pid", "address", "position", "lag_bytes", "lag_s", "reads", "in_flight", "health")
PLACES = ("name", "role", "state", "pid", "address", "log")
_LONGEST_REASON = 80  # the whole of it is in --json


def look(cluster: Cluster) -> list[dict[str, Any]]:
    """Return a line for each node. Takes a few seconds at most, whatever is frozen."""
    said = replication(cluster)
    servers = {server.name: server.readiness() for server in cluster.servers if server.state() == "running"}
    views = [view for view in servers.values() if view is not None]
    seen = {line.get("name"): line for line in (views[0].get("dependencies", []) if views else [])}
    rows = []
    for node in cluster.nodes:
        row = _row(node)
        if isinstance(node, DatabaseNode):
            row |= {"position": None, "lag_bytes": None, "lag_s": None, "trouble": None} | said.get(node.name, {})
            row["seen_by_server"] = seen.get(node.address)
        else:
            row |= _server(node, servers.get(node.name))
        rows.append(row)
    return rows


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
    shown = [dict(row) | _shown(row) for row in rows]
    table(columns, [["" if row.get(column) is None else row[column] for column in columns] for row in shown])


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    seen = row.get("seen_by_server") or row.get("readiness") or {}
    reason = f" ({seen['reason'][:_LONGEST_REASON]})" if seen.get("reason") else ""
    health = "; ".join(part for part in (row["trouble"], f"{seen.get('status', '')}{reason}") if part)
    lag_s = row.get("lag_s")
    return {
        "reads": seen.get("reads"),
        "in_flight": seen.get("in_flight"),
        "health": health,
        "lag_s": None if lag_s is None else round(lag_s, 1),
    }

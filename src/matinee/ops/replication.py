"""How far each instance of a cluster is, as the instances themselves say. Called by cli/cluster_status.py.

Invariant: a frozen instance costs its deadline once and hides nothing of the others. Each one is asked by a program that is
killed at the deadline, because a connection to a frozen server waits for ever, whatever it was told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from matinee.errors import OperatorError
from matinee.ops.cluster import DATABASE, Cluster
from matinee.ops.database_node import DatabaseNode

_LEADER = """
    SELECT json_build_object(
        'position', (SELECT position FROM public.log_head),
        'wal_bytes', pg_current_wal_lsn() - '0/0',
        'slots', (SELECT json_object_agg(slot_name, wal_status) FROM pg_replication_slots)
    )
"""
_FOLLOWER = """
    SELECT json_build_object(
        'position', (SELECT position FROM public.log_head),
        'wal_bytes', pg_last_wal_replay_lsn() - '0/0',
        'last_commit_s', extract(epoch FROM now() - pg_last_xact_replay_timestamp()),
        'is_streaming', EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'),
        'is_paused', pg_is_wal_replay_paused()
    )
"""


def replication(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return for each running instance its position, a follower's lag, and in `trouble` what is not well. Raises nothing."""
    # The leader first: a follower that is asked after it cannot seem behind for what was written in between.
    leader = _ask_all([node for node in cluster.databases if node.role == "leader"], _LEADER)
    said = {name: _shown(answer) for name, answer in leader.items()}
    known = next(iter(leader.values()), {})
    followers = {node.name: node.postgres.slot for node in cluster.followers}
    for name, answer in _ask_all(cluster.followers, _FOLLOWER).items():
        said[name] = _shown(answer) | _lag(known, answer) | _trouble(known, answer, followers[name])
    return said


def _ask_all(nodes: Sequence[DatabaseNode], statement: str) -> dict[str, dict[str, Any]]:
    running = [node for node in nodes if node.state() == "running"]
    with ThreadPoolExecutor(max(1, len(running))) as threads:
        answers = threads.map(lambda node: _ask(node, statement), running)
        return {node.name: answer for node, answer in zip(running, answers, strict=True)}


def _ask(node: DatabaseNode, statement: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(node.postgres.ask(statement, DATABASE))
    except (OperatorError, ValueError) as error:
        return {"trouble": "it does not answer: " + " ".join(str(error).split())[-120:]}
    return found


def _shown(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"position": answer.get("position"), "trouble": answer.get("trouble")}


def _lag(leader: Mapping[str, Any], follower: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a follower is behind; nothing is known of that while one of the two does not answer."""
    if "wal_bytes" not in leader or follower.get("wal_bytes") is None:
        return {"lag_bytes": None, "lag_s": None}
    lag_bytes = max(0, int(leader["wal_bytes"]) - int(follower["wal_bytes"]))
    # The age of its last commit says nothing of a follower that has everything: it grows while nobody writes.
    return {"lag_bytes": lag_bytes, "lag_s": follower.get("last_commit_s") if lag_bytes else 0.0}


def _trouble(leader: Mapping[str, Any], follower: Mapping[str, Any], slot: str) -> dict[str, Any]:
    if "wal_bytes" not in follower:
        return {}
    status = (leader.get("slots") or {}).get(slot, "missing") if "wal_bytes" in leader else "unknown"
    if status in {"lost", "missing"}:
        return {"trouble": f"its replication slot is {status}: it never catches up again; rebuild it"}
    if follower["is_paused"]:
        return {"trouble": "its replay is paused: SELECT pg_wal_replay_resume() goes on"}
    return {} if follower["is_streaming"] else {"trouble": "it receives nothing from the leader"}

"""The state file of a cluster, and the lock of those who change it.

Called by cli/cluster.py. Commands follow one another in processes of their own, so everything that one must know of what
another started stands here: names, ports, passwords, and each process by its id and the moment it was started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matinee import private_files
from matinee.errors import OperatorError
from matinee.ops import cluster
from matinee.ops.cluster import Cluster, Shape
from matinee.ops.database_node import DatabaseNode
from matinee.ops.engines import EngineNode
from matinee.ops.patroni import PatroniNode
from matinee.ops.postgres import PostgresNode, make_passable
from matinee.ops.processes import Started, boot_id, happens, takes_lock
from matinee.ops.service import ServerNode
from matinee.ops.topology import Place

LOCK_WITHIN_S = 5.0


def new(home: Path) -> Cluster:
    """Return a cluster without nodes that is kept in a folder."""
    return cluster.new(home, save)


def load(home: Path) -> Cluster | None:
    """Return the cluster of a folder as its state file says; None when none was made. Raises: OperatorError."""
    try:
        return _cluster(home, json.loads(_path(home).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise OperatorError(f"{_path(home)} is another user's; run this as the one who made the cluster.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OperatorError(
            f"{_path(home)} cannot be read ({error!r}). Restore it: without it nothing here can be ended or started, "
            "and the passwords of the data are lost."
        ) from error


def save(kept: Cluster) -> None:
    """Write the state file, whole or not at all; it holds passwords, so it is for nobody else to read."""
    state = {
        "boot": boot_id(),
        "data": str(kept.data),
        "passwords": kept.passwords,
        "wanted": kept.wanted,
        "sample_is_loading": kept.sample_is_loading,
        "databases": [_database_state(node) for node in kept.databases],
        "servers": [_server_state(node) for node in kept.servers],
        "engines": [_engine_state(node) for node in kept.engines],
        "shape": asdict(kept.shape),
        "drained": sorted(kept.drained),
    }
    private_files.replace(_path(kept.home), json.dumps(state, indent=1).encode())


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Keep other commands from changing the cluster meanwhile. Raises: OperatorError when one takes too long."""
    make_passable(home)
    home.chmod(0o711)  # PostgreSQL's user passes through to its data; what else lies here is for its owner alone
    with (home / "lock").open("w") as file:
        if not happens(lambda: takes_lock(file.fileno()), LOCK_WITHIN_S):
            raise OperatorError("Another `matinee cluster` command works on this cluster; wait for it, then try again.")
        yield


def _path(home: Path) -> Path:
    return home / "cluster.json"


def _cluster(home: Path, state: dict[str, Any]) -> Cluster:
    # Process ids and ticks begin anew when the system does: one that was kept before may be anybody's by now.
    is_same_boot = state.get("boot", boot_id()) == boot_id()
    found = Cluster(home, Path(state["data"]), state["passwords"], keep=save)
    found.wanted = state.get("wanted", {"followers": 0, "servers": 0})
    found.sample_is_loading = state.get("sample_is_loading", False)
    found.shape, found.drained = Shape(**state.get("shape", {})), set(state.get("drained", []))
    for item in state["databases"]:
        process = _started(item["process"]) if is_same_boot else None
        found.databases.append(DatabaseNode(_postgres(found, item, process), item["role"], item.get("is_made", True)))
    for item in state["servers"]:
        process = _started(item["process"]) if is_same_boot else None
        log = home / f"{item['name']}.log"
        node = ServerNode(item["name"], item["port"], log, item["command"], item["environment"], process)
        node.ops_port = item.get("ops_port", 0)
        found.servers.append(node)
    for item in state.get("engines", []):
        process = _started(item["process"]) if is_same_boot else None
        place = Place(item["name"], item["role"], "local", cluster.HOST, item["ports"])
        engine = EngineNode(place, item["command"], home / f"{item['name']}.log", process)
        found.secure_engine(engine)
        found.engines.append(engine)
    return found


def _postgres(found: Cluster, item: dict[str, Any], process: Started | None) -> PostgresNode:
    name, port, password = item["name"], item["port"], found.passwords["postgres"]
    if "rest_port" in item:
        member = PatroniNode(name, found.data / name, port, password, process=process, rest_port=item["rest_port"])
        found.secure(member)
        return member
    return PostgresNode(name, found.data / name, port, password, process=process)


def _engine_state(node: EngineNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "role": node.role,
        "ports": dict(node.place.ports),
        "command": node.command,
        "process": _plain(node.process),
    }


def _database_state(node: DatabaseNode) -> dict[str, Any]:
    more = {"rest_port": node.postgres.rest_port} if isinstance(node.postgres, PatroniNode) else {}
    return more | {
        "name": node.name,
        "role": node.role,
        "port": node.port,
        "is_made": node.is_made,
        "process": _plain(node.process),
    }


def _server_state(node: ServerNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "port": node.port,
        "ops_port": node.ops_port,
        "command": node.command,
        "environment": node.environment,
        "process": _plain(node.process),
    }


def _plain(process: Started | None) -> list[int] | None:
    return None if process is None else [process.pid, process.tick]


def _started(plain: list[int] | None) -> Started | None:
    return None if plain is None else Started(*plain)

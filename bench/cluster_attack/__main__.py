"""Attack every port of the running cluster of MATINEE_HOME as an unprivileged user, and say what was refused.

Run by `scripts/attack-cluster`. Run as root, the attempts are made as `nobody`, who can read no file of the cluster. Prints a
table; exit code 1 when an attempt was not refused, 2 when there is no whole cluster to attack.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pwd
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from bench.cluster_attack.attempts import Attempt, Port, attempts
from bench.tables import table
from matinee import config as configuration
from matinee.errors import MatineeError, OperatorError
from matinee.ops import cluster_file
from matinee.ops.cluster import Cluster
from matinee.ops.database_node import DatabaseNode
from matinee.ops.patroni import PatroniNode

_HEADS = ("port", "what was tried", "what came back", "refused")
_AT_ONCE = 8  # attempts; most of them wait


def main() -> int:
    """Attack, print, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = options.parse_args()
    try:
        ports = _ports(configuration.home_of(os.environ))
    except (MatineeError, ValueError) as error:
        sys.stderr.write(f"attack-cluster: {error}\n")
        return 2
    made = _as_stranger(ports)
    if chosen.json:
        sys.stdout.write(json.dumps([_plain(attempt) for attempt in made], indent=2) + "\n")
    else:
        sys.stdout.write(table(_HEADS, [list(map(str, _plain(attempt).values())) for attempt in made]) + "\n")
    open_ = [attempt for attempt in made if not attempt.answer.is_refusal]
    sys.stderr.write(f"{len(made)} attempts on {len(ports)} ports; not refused: {len(open_)}.\n")
    return 1 if open_ else 0


def _ports(home: Path) -> list[Port]:
    """Return the ports of the cluster. Raises: OperatorError when a node does not run, because it would refuse everything."""
    cluster = cluster_file.load(home / "cluster")
    if cluster is None:
        raise OperatorError(
            f"There is no cluster in {home}; make one with `matinee cluster up --ha --redis`, or set MATINEE_HOME."
        )
    if dead := [node.name for node in cluster.nodes if node.state() != "running"]:
        raise OperatorError(f"These nodes do not run: {', '.join(dead)}. Start them with `matinee cluster up`.")
    return list(_ports_of(cluster))


def _ports_of(cluster: Cluster) -> Iterator[Port]:
    for node in cluster.databases:
        yield from _ports_of_database(node)
    for server in cluster.servers:
        yield Port(server.name, "server", "port", server.port)
    for engine in cluster.engines:
        for kind, number in engine.place.ports.items():
            yield Port(engine.name, engine.role, kind, number)


def _ports_of_database(node: DatabaseNode) -> Iterator[Port]:
    yield Port(node.name, "database", "port", node.port)
    if isinstance(node.postgres, PatroniNode):
        yield Port(node.name, "database", "rest_port", node.postgres.rest_port)


def _as_stranger(ports: list[Port]) -> list[Attempt]:
    """Make every attempt in a process of an unprivileged user."""
    context = multiprocessing.get_context("fork")  # everything is imported by now: that user cannot read our files
    with ProcessPoolExecutor(1, mp_context=context, initializer=_become_nobody) as process:
        return process.submit(_attack, ports).result()


def _become_nobody() -> None:
    os.environ.pop("PGPASSWORD", None)
    os.environ.update(HOME="/nonexistent", PGPASSFILE="/nonexistent/pgpass")
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


def _attack(ports: list[Port]) -> list[Attempt]:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return [attempt for made in threads.map(lambda port: list(attempts(port)), ports) for attempt in made]


def _plain(attempt: Attempt) -> dict[str, object]:
    port = attempt.port
    return {
        "port": f"{port.node} {port.kind} {port.number}",
        "tried": attempt.tried,
        "answer": attempt.answer.text.replace("|", "/"),
        "refused": "yes" if attempt.answer.is_refusal else "NO",
    }


if __name__ == "__main__":
    raise SystemExit(main())

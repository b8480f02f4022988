"""Renew the certificates of a cluster that runs, and let its nodes use them. Called by cli/cluster_certificates.py.

Nothing is interrupted but Redis, whose cached values are lost: HAProxy, nginx, Patroni and PostgreSQL reload their files, and
etcd reads them at each handshake. Must not be used to replace the CA, whose certificate etcd reads only when it starts.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from matinee.ops.cluster import Cluster
from matinee.ops.patroni import PatroniNode

if TYPE_CHECKING:
    from matinee.ops.certificates import Outcome


def renew(cluster: Cluster, *, all_of_them: bool) -> list[Outcome]:
    """Renew what is due, or everything; return what was done with each. Raises: OperatorError."""
    from matinee.ops import certificates
    from matinee.ops.wanted_certificates import wanted_certificates

    topology = cluster.topology()
    wanted = wanted_certificates(topology)
    outcomes = certificates.issue(cluster.certificates, topology.name, wanted, renew=all_of_them)
    if any(outcome.written for outcome in outcomes):
        cluster.render()  # copies them to where PostgreSQL's user reads them
        _reload(cluster)
    return outcomes


def _reload(cluster: Cluster) -> None:
    for database in cluster.databases:
        if isinstance(database.postgres, PatroniNode) and database.postgres.process is not None:
            database.postgres.process.tell(signal.SIGHUP)
    for node in cluster.engines:
        if node.state() == "running" and node.role in {"front", "balancer"}:
            node.reload()
        elif node.state() == "running" and node.role == "redis":
            node.end()
            node.start(cluster.save)

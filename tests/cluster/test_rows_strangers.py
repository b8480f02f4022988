"""The whole cluster under load: strangers at every port, and new certificates, and that no client sees any of it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from matinee.ops.layout import Tls
from matinee.ops.tls_clients import client_context
from tests import postgres
from tests.cluster.whole import Bounds, Whole, patroni
from tests.processes import eventually

pytestmark = [
    pytest.mark.alone,
    pytest.mark.whole,
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: a whole cluster has no SQLite"),
]
_ROOT = Path(__file__).parents[2]
_REFUSALS = {
    "database-1": "password authentication failed",
    "etcd-1": "rejected connection",
    "redis": "Error accepting a client connection",
    "balancer": "statistics",
}


def serials(whole: Whole) -> list[str]:
    """Return the serial numbers of the certificates that the nodes show now."""
    cluster = whole.cluster()
    ports = {node.name: patroni(node).rest_port for node in cluster.databases}
    ports |= {node.name: node.port for node in cluster.engines if node.role in {"etcd", "redis"}}
    ports |= {node.name: node.place.ports["stats_port"] for node in cluster.engines if node.role in {"front", "balancer"}}
    context = client_context(Tls(cluster.certificates, "front"))

    def serial(port: int) -> str:
        plain = socket.create_connection(("127.0.0.1", port), 2)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            found = connection.getpeercert()
        assert found is not None
        return str(found["serialNumber"])

    return [serial(port) for port in ports.values()]


def test_a_stranger_tries_every_port(whole: Whole) -> None:
    with whole.row("a stranger at every port", Bounds(interrupted_writes=0)):
        done = subprocess.run(
            [sys.executable, "-m", "bench.cluster_attack", "--json"],
            cwd=_ROOT,
            env=os.environ | {"MATINEE_HOME": str(whole.home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert done.returncode == 0, done.stdout + done.stderr
    assert {made["refused"] for made in json.loads(done.stdout)} == {"yes"}
    for name, said in _REFUSALS.items():
        assert said in whole.cluster().node(name).log.read_text(errors="replace"), name
    counted = whole.engine("redis").say(b"INFO errorstats\r\n")
    assert [kind for kind in (b"NOAUTH", b"WRONGPASS") if b"errorstat_%b:count=" % kind not in counted] == []


def test_every_certificate_is_renewed(whole: Whole) -> None:
    before = serials(whole)
    with whole.row("every certificate is renewed", Bounds(p99_s=0.5)):
        whole.command("certificates", "--running", "--renew")

        def shown() -> list[str]:
            try:
                return serials(whole)
            except (OSError, ssl.SSLError):
                return before

        eventually(shown, lambda after: not set(after) & set(before), 20)

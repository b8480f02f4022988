"""Where a server listens, as its operator names it: a host name, IPv6, and an environment that Kubernetes has filled."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.processes import MATINEE, end, environment, eventually, free_port, matinee
from tests.unit.test_injected_variables import service


def has_ipv6() -> bool:
    """Return whether this machine has IPv6 on loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "shown", "asked"),
    [
        ("localhost", "http://localhost:{}", "http://127.0.0.1:{}"),
        pytest.param(
            "[::1]", "http://[::1]:{}", "http://[::1]:{}", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
        ),
    ],
)
def test_a_server_listens_where_it_is_named_and_says_so(small_catalogue: Path, host: str, shown: str, asked: str) -> None:
    port, log = free_port(), small_catalogue / "said.log"
    told = environment(small_catalogue, **service("MATINEE"), **service("MATINEE_API", "fd00::7"))
    with log.open("wb") as output:
        server = subprocess.Popen([*MATINEE, "serve", "--host", host, "--port", str(port)], env=told, stderr=output)
    try:
        eventually(log.read_text, lambda text: f"Serving {shown.format(port)} with" in text, 30)
        status = matinee(small_catalogue, "status", MATINEE_HOST=host, PORT=str(port))

        assert httpx.get(asked.format(port) + "/admin/login/").status_code == 200
        assert status.stdout.startswith(f"{shown.format(port)}: ready")
        assert log.read_text().count("Ignored: 16 variables that Kubernetes or Docker injects") == 1
    finally:
        end(server)


def test_config_show_names_what_an_orchestrator_has_injected(tmp_path: Path) -> None:
    shown = matinee(tmp_path, "config", "show", **service("MATINEE_API"))

    assert shown.returncode == 0
    assert shown.stderr.startswith("Ignored, because Kubernetes or Docker injects them for a service: MATINEE_API_PORT, ")
    assert "MATINEE_API" not in shown.stdout

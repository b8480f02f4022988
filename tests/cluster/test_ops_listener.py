"""Health on a listener of its own: what it answers, where it is, and that a server starts without it when it must."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from tests.cluster.test_connections import ops_url
from tests.cluster.wires import rest
from tests.processes import Server, free_port, matinee, start_server

pytestmark = pytest.mark.sqlite_only("health is the same on both engines")


def said(server: Server, request: bytes) -> bytes:
    """Send bytes to the health listener and return what it says until it closes."""
    url = httpx.URL(ops_url(server))
    with socket.create_connection((url.host, url.port or 0), timeout=15) as connection:
        connection.sendall(request)
        return rest(connection)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_health_listener_answers_three_paths_and_nothing_else(small_catalogue: Path, workers: str) -> None:
    with start_server(small_catalogue, "--workers", workers, MATINEE_OPS_ADDRESS="auto") as server:
        base = ops_url(server)
        live, ready, metrics = (httpx.get(base + path, timeout=10) for path in ("/livez?probe=1", "/readyz", "/metrics"))
        head = httpx.head(f"{base}/readyz", timeout=10)
        others = [httpx.get(base + path, timeout=10).status_code for path in ("/", "/v1/movies", "/admin/", "/livez/")]
        refused = [httpx.request(method, f"{base}/livez", timeout=10) for method in ("POST", "DELETE", "OPTIONS")]
        garbage = [said(server, request) for request in (b"\x16\x03\x01\r\n\r\n", b"x" * 20_000, b"GET / HTTP/2.0\r\n\r\n")]

    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert "matinee_connections " in metrics.text
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", ready.headers["content-length"])
    assert others == [404] * 4
    assert [(answer.status_code, answer.headers["allow"]) for answer in refused] == [(405, "GET, HEAD")] * 3
    assert [answer[:12] for answer in garbage] == [b"", b"", b"HTTP/1.1 505"]
    assert "Traceback" not in server.log.read_text()


def test_the_services_own_listener_tells_strangers_whether_it_is_ready_and_no_more(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_OPS_ADDRESS="auto") as server:
        answers = [server.get(path) for path in ("/livez", "/readyz", "/metrics")]
        details = httpx.get(f"{ops_url(server)}/readyz", timeout=10).json()

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert [answer.json() for answer in answers[:2]] == [{"status": "live"}, {"status": "ready"}]
    assert details["dependencies"][0]["name"] == "catalogue"


def test_the_health_listener_is_announced_and_survives_a_flood_of_its_own(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_OPS_ADDRESS="auto") as server:
        url = httpx.URL(ops_url(server))
        held = [socket.create_connection((url.host, url.port or 0), timeout=15) for _ in range(200)]
        live = httpx.get(f"{url}/livez", timeout=10).status_code
        for connection in held:
            connection.close()

    assert live == 200
    assert f"health checks at {url}" in server.log.read_text()


def test_a_server_starts_without_health_checks_beside_when_their_port_is_in_use_and_nobody_chose_it(
    small_catalogue: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] - 1000
        with start_server(small_catalogue, port=port, MATINEE_OPS_ADDRESS="auto") as server:
            still = server.get("/livez").status_code

    assert still == 200
    told = f"/metrics and the details of /readyz are not served: 127.0.0.1:{port + 1000} cannot be listened on"
    assert told in server.log.read_text()


def test_an_address_for_health_checks_that_was_chosen_and_is_in_use_is_an_error(small_catalogue: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = matinee(small_catalogue, "serve", "--port", str(free_port()), MATINEE_OPS_ADDRESS=address)

    assert done.returncode == 2
    assert f"{address} cannot be listened on for health checks (Address already in use)." in done.stderr


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_neighbours() -> int:
    """Return a port that is free, with its neighbour and the ports of their health listeners: others may have taken those."""
    while True:
        port = free_port()
        if port < 64_000 and all(map(is_free, (port + 1, port + 1_000, port + 1_001))):
            return port


def test_two_servers_on_neighbouring_ports_both_start_with_health_checks(small_catalogue: Path) -> None:
    first_port = free_neighbours()
    with (
        start_server(small_catalogue, port=first_port, MATINEE_OPS_ADDRESS="auto") as first,
        start_server(small_catalogue, port=first_port + 1, MATINEE_OPS_ADDRESS="auto") as second,
    ):
        live = [httpx.get(f"{ops_url(server)}/livez", timeout=10).status_code for server in (first, second)]

    assert live == [200, 200]

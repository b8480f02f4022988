"""Connections that keep a server waiting, or that are too many, on a real server: which ends, which survives, who is served."""

from __future__ import annotations

import itertools
import re
import signal
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.cluster.test_overload import _SLOW, planted, under_way
from tests.cluster.wires import GET, HOST, SLOW_BODY, SLOW_HEAD, allow_many_files, is_open, rest, trickle, wire, wires
from tests.conftest import catalogue_in
from tests.processes import Server, eventually, start_server

pytestmark = pytest.mark.sqlite_only("what is about connections does not get to the catalogue: once is enough")
_LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
_LARGE = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS_FRAME, _MAX_CONCURRENT_STREAMS = 4, 3


@pytest.fixture(scope="module")
def strict(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return one server whose connections have little time."""
    home = tmp_path_factory.mktemp("strict")
    bounds = {"MATINEE_HEADER_TIMEOUT_S": "1", "MATINEE_IDLE_TIMEOUT_S": "3", "MATINEE_BODY_TIMEOUT_S": "1"}
    with catalogue_in(home, empty_catalogue), start_server(home, MATINEE_CLIENT_CONNECTIONS="0", **bounds) as server:
        yield server


def closed(server: Server, reason: str) -> float:
    """Return how many connections were closed for a reason, as the metrics tell it."""
    found = re.search(rf'matinee_connections_closed_total{{reason="{reason}"}} (\S+)', server.get("/metrics").text)
    return float(found[1]) if found else 0.0


def test_a_connection_on_which_nothing_is_sent_is_closed(strict: Server) -> None:
    with wire(strict) as connection:
        assert rest(connection) == b""

    eventually(lambda: closed(strict, "unused"), lambda count: count >= 1)


@pytest.mark.parametrize("before", [b"", _LIVEZ], ids=["first", "later"])
def test_a_request_whose_head_trickles_in_is_answered_408_and_closed(strict: Server, before: bytes) -> None:
    with wire(strict) as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(SLOW_HEAD)
        answer = trickle(connection)

    assert answer == b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def test_a_connection_that_is_not_used_any_more_is_closed(strict: Server) -> None:
    with wire(strict, _LIVEZ) as connection:
        answer = rest(connection)

    assert answer.count(b"HTTP/1.1 200 ") == 1


def test_a_client_that_does_not_take_its_answers_is_closed(strict: Server) -> None:
    with wire(strict, _LARGE * 300, buffer_bytes=4_096) as connection:
        eventually(lambda: closed(strict, "slow_reader"), lambda count: count >= 1, 20)
        taken = rest(connection)

    assert taken.count(b"HTTP/1.1 200 ") < 300


def test_a_client_that_takes_its_answers_gets_all_of_them(strict: Server) -> None:
    last = _LARGE.replace(HOST, HOST + b"Connection: close\r\n")

    with wire(strict, _LARGE * 99 + last) as connection:
        taken = rest(connection)

    assert taken.count(b"HTTP/1.1 200 ") == 100


def test_http2_without_tls_is_refused(strict: Server) -> None:
    with wire(strict, _PREFACE) as connection:
        answer = rest(connection)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_http2_without_tls_is_spoken_when_it_is_turned_on_with_few_streams(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_HTTP2="true") as server, wire(server, _PREFACE) as connection:
        frame = connection.recv(9, socket.MSG_WAITALL)
        length = int.from_bytes(frame[:3])
        settings = dict(struct.iter_unpack(">HI", connection.recv(length, socket.MSG_WAITALL)))
        still = server.get("/v1/movies/1")

    assert frame[3] == _SETTINGS_FRAME
    assert settings[_MAX_CONCURRENT_STREAMS] == 16
    assert still.status_code == 200


def test_a_client_over_its_limit_keeps_its_request_under_way_and_others_keep_all(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_CLIENT_CONNECTIONS="20") as server, ExitStack() as stack:
        active = stack.enter_context(wire(server, SLOW_BODY))
        others = wires(stack, server, 20, source="127.0.0.2")
        idle = wires(stack, server, 60, _LIVEZ)
        for connection in idle:
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200 ")
        left = eventually(lambda: sum(map(is_open, idle)), lambda count: count <= 19)
        active.sendall(b"x" * 1000)

        assert left == 19
        assert all(map(is_open, others))
        assert active.recv(1_000).startswith(b"HTTP/1.1 403 ")  # the form lacks Django's token
        assert closed(server, "client_limit") == 41
    assert server.log.read_text().count("too many connections") == 1


def test_a_process_that_runs_out_of_connections_takes_them_from_the_client_with_the_most(small_catalogue: Path) -> None:
    bounds = {"MATINEE_CONNECTIONS": "100", "MATINEE_CLIENT_CONNECTIONS": "0"}
    with start_server(small_catalogue, **bounds) as server, ExitStack() as stack:
        few = wires(stack, server, 10, source="127.0.0.3")
        wires(stack, server, 300, SLOW_BODY, source="127.0.0.2")
        answers = [server.get("/v1/movies/1").status_code for _ in range(20)]

        assert answers == [200] * 20
        assert all(map(is_open, few))
        assert closed(server, "process_limit") > 0


@pytest.mark.parametrize("sources", [1, 40], ids=["of one address", "of many addresses"])
def test_two_thousand_idle_and_two_hundred_slow_clients_affect_nobody(small_catalogue: Path, sources: int) -> None:
    allow_many_files()
    addresses = itertools.cycle([f"127.0.0.{number + 1}" for number in range(sources)])
    with start_server(small_catalogue, MATINEE_OPS_ADDRESS="auto") as server, ExitStack() as stack:
        for first, count in ((b"", 1_000), (_LIVEZ, 1_000), (SLOW_HEAD, 70), (SLOW_BODY, 70), (_LARGE * 100, 60)):
            for _ in range(count):
                stack.enter_context(wire(server, first, source=next(addresses), buffer_bytes=4_096))
        served = [server.get(path).status_code for _ in range(25) for path in ("/v1/movies/1", "/v1/movies?sort=title")]
        checks = [httpx.get(ops_url(server) + path, timeout=10).status_code for path in ("/livez", "/readyz", "/metrics")]
        live = server.get("/livez").status_code

    assert (served, checks, live) == ([200] * 50, [200] * 3, 200)


def ops_url(server: Server) -> str:
    """Return where a server answers health checks when that is left to it."""
    url = httpx.URL(server.url)
    return f"http://{url.host}:{(url.port or 0) + 1000}"


def test_health_is_answered_while_every_connection_is_taken(small_catalogue: Path) -> None:
    bounds = {"MATINEE_CONNECTIONS": "16", "MATINEE_TRUSTED_PROXIES": "127.0.0.0/8", "MATINEE_OPS_ADDRESS": "auto"}
    with start_server(small_catalogue, **bounds) as server, ExitStack() as stack:
        held = wires(stack, server, 17, _LIVEZ)  # a proxy's are not closed; the last one is not accepted
        for connection in held[:16]:
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200 ")
        live = httpx.get(f"{ops_url(server)}/livez", timeout=10)

        assert (live.status_code, live.json()) == (200, {"status": "live"})
        assert is_open(held[16])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_ends_with_idle_and_slow_clients_connected_and_answers_what_is_under_way(
    small_catalogue: Path, workers: str
) -> None:
    allow_many_files()
    slow = start_server(small_catalogue, "--workers", workers, program=planted(_SLOW), MATINEE_IDLE_TIMEOUT_S="600")
    with slow as server, ExitStack() as stack, ThreadPoolExecutor(1) as clients:
        wires(stack, server, 500)
        wires(stack, server, 500, _LIVEZ, source="127.0.0.2")
        wires(stack, server, 50, SLOW_HEAD, source="127.0.0.3")
        long = clients.submit(server.get, "/v1/genres")
        under_way(server)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(25)  # the headers of the slow ones have 10 s, unused connections 600 s

    assert (long.result().status_code, code) == (200, 0)
    assert "Killing" not in server.log.read_text()


def test_a_pipelined_request_behind_an_answer_is_answered(strict: Server) -> None:
    last = GET.replace(HOST, HOST + b"Connection: close\r\n")

    with wire(strict, _LIVEZ + GET + last) as connection:
        answer = rest(connection)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404", b"404"]

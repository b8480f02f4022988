"""A request body that does not arrive: its request ends in time, with an answer, and its connection with it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.wires import HOST, SLOW_BODY, allow_many_files, is_open, rest, trickle, wire, wires
from tests.conftest import catalogue_in
from tests.processes import Server, eventually, start_server

pytestmark = pytest.mark.sqlite_only("a body that does not arrive does not get to the catalogue: once is enough")
_JSON = HOST + b"Content-Type: application/json\r\n"
_POST = b"POST /v1/movies HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def serving(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return one server for all of these: they change nothing."""
    home = tmp_path_factory.mktemp("slow")
    with catalogue_in(home, empty_catalogue):
        from matinee.write import keys

        key = keys.create("tests", "write", "tests").text
        with start_server(home, MATINEE_BODY_TIMEOUT_S="1", MATINEE_MAX_BODY_BYTES="2000") as server:
            server.admin_password = key
            yield server


def authorized(server: Server) -> bytes:
    """Return the header of a key that may write."""
    return b"Authorization: Bearer " + server.admin_password.encode() + b"\r\n"


def slow_requests(server: Server) -> dict[str, tuple[bytes, bytes]]:
    """Return the heads of requests, and what is sent of their bodies again and again."""
    key = authorized(server)
    return {
        "of a write": (_POST + _JSON + key + b"Content-Length: 1000\r\n\r\n", b" "),
        "of a write, in chunks": (_POST + _JSON + key + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "of a sign-in": (SLOW_BODY, b"x"),
        "of an upload": (SLOW_BODY.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/form-data; boundary=a\r\n\r\n"), b"x"),
        "that is too large": (_POST + _JSON + key + b"Content-Length: 5000\r\n\r\n", b" "),
    }


@pytest.mark.parametrize("which", ["of a write", "of a write, in chunks", "of a sign-in", "of an upload", "that is too large"])
def test_a_body_that_trickles_in_is_answered_408_and_the_connection_is_closed(serving: Server, which: str) -> None:
    head, piece = slow_requests(serving)[which]

    with wire(serving, head) as connection:
        answer = trickle(connection, itertools.repeat(piece))

    headers, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert headers.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in headers
    assert problem["type"].endswith("/docs/errors/request-timeout")
    assert (
        problem["detail"] == "The body did not arrive completely within 1 s; send it faster, or raise MATINEE_BODY_TIMEOUT_S."
    )


def test_a_body_of_which_nothing_comes_is_answered_408(serving: Server) -> None:
    with wire(serving, SLOW_BODY) as connection:
        answer = rest(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_comes_in_pieces_in_time_is_taken(serving: Server) -> None:
    body = json.dumps({"title": "Alien"}).encode()
    head = _POST + _JSON + authorized(serving) + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)

    with wire(serving, head) as connection:
        answer = trickle(connection, [body[:5], body[5:]])

    assert answer.startswith(b"HTTP/1.1 201 ")


def test_a_request_before_a_slow_one_on_the_same_connection_is_answered(serving: Server) -> None:
    with wire(serving, b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n" + SLOW_BODY) as connection:
        answer = rest(connection)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"408"]


def test_a_slow_body_is_no_fault_of_ours(serving: Server) -> None:
    with wire(serving, SLOW_BODY) as connection:
        rest(connection)

    assert serving.get("/readyz").status_code == 200
    assert '"fault"' not in serving.log.read_text()
    assert "Traceback" not in serving.log.read_text()


def test_bodies_that_are_too_many_for_the_memory_are_ended(small_catalogue: Path) -> None:
    allow_many_files()
    head = SLOW_BODY.replace(b"1000", b"1048576")
    with start_server(small_catalogue) as server, ExitStack() as stack:
        held = wires(stack, server, 100, head + b"x" * 1_000_000)
        ended = eventually(lambda: [one for one in held if not is_open(one)], lambda seen: len(seen) >= 30)

        assert ended[0].recv(1_000).startswith(b"HTTP/1.1 408 ")
        assert len(ended) < 100

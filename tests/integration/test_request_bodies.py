"""Bodies that are refused, dropped or evicted: what is read of them, what is counted, and what the client is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from tests.client import Client

Receive = Callable[[], Awaitable[dict[str, Any]]]
_MIB = 1024 * 1024


def asked(client: Client, receive: Receive, *headers: tuple[bytes, bytes], method: str = "POST") -> tuple[int, str]:
    """Send a request whose body comes from `receive`; return its status and the detail of its problem."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "http", "asgi": {}, "http_version": "1.1", "method": method, "scheme": "http", "path": "/v1/movies",
             "raw_path": b"/v1/movies", "query_string": b"", "root_path": "", "client": ("192.0.2.1", 1),
             "headers": [(b"host", b"localhost"), *headers]}  # fmt: skip
    client._loop.run_until_complete(client.front(scope, receive, send))
    return messages[0]["status"], json.loads(messages[1]["body"])["detail"]


class Pieces:
    """A body of so many pieces of a mebibyte; it notes how many were read and the bytes that were counted meanwhile."""

    def __init__(self, client: Client, count: int) -> None:
        self.read, self.counted_bytes = 0, 0
        self._client, self._count = client, count

    async def __call__(self) -> dict[str, Any]:
        self.read += 1
        self.counted_bytes = max(self.counted_bytes, self._client.front.bodies.total_bytes)
        return {"type": "http.request", "body": b"x" * _MIB, "more_body": self.read < self._count}


def writing(client: Client) -> list[tuple[bytes, bytes]]:
    """Return the headers of a write of ten bytes."""
    return [length(10), (b"authorization", f"Bearer {client.key}".encode()), (b"content-type", b"application/json")]


def length(count: int) -> tuple[bytes, bytes]:
    """Return the header of a body's length."""
    return b"content-length", b"%d" % count


def test_a_body_that_is_too_large_is_read_and_takes_no_memory(client: Client) -> None:
    body = Pieces(client, 5)

    status, detail = asked(client, body, length(5 * _MIB))

    assert (status, body.read, body.counted_bytes) == (413, 5, 0)
    assert detail == "The body is larger than 1048576 bytes; send less, or raise MATINEE_MAX_BODY_BYTES."


def test_a_client_beyond_its_limit_has_no_large_body_read(catalogue_home: Path) -> None:
    with Client(configuration.load(home=catalogue_home), client_rate=0.5) as client:  # five at once, which a write costs
        bodies = [Pieces(client, 5) for _ in range(2)]

        statuses = [asked(client, body, length(5 * _MIB))[0] for body in bodies]

    assert (statuses, [body.read for body in bodies]) == ([413, 429], [5, 0])


def test_a_request_that_is_shed_has_no_large_body_read(client: Client) -> None:
    body = Pieces(client, 5)
    for _ in range(client.config.max_in_flight):
        client.front.places.take(is_admin=False)

    status, _ = asked(client, body, length(5 * _MIB))

    assert (status, body.read) == (503, 0)


@pytest.mark.parametrize("stated", [b"0" * 30 + b"9999999", b"9" * 400])
def test_a_length_of_any_number_of_digits_is_understood(client: Client, stated: bytes) -> None:
    async def whole() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * _MIB, "more_body": False}

    status, _ = asked(client, whole, (b"content-length", stated))

    assert status == 413


def evict_all(client: Client) -> None:
    """Let another body of the same client arrive when there is room for nothing."""

    class Other:
        client = "192.0.2.1"

        def end_body(self) -> None:
            """Do nothing."""

    client.front.bodies.most_bytes = 0
    client.front.bodies.add(Other(), 1)


def waiting(client: Client, *, evicts_first: bool) -> Receive:
    """Return a body of one piece that is evicted while the server waits for the next, or just as that wait times out."""
    pieces = [{"type": "http.request", "body": b"abc", "more_body": True}]

    async def receive() -> dict[str, Any]:
        if pieces:
            return pieces.pop()
        if evicts_first:
            evict_all(client)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            evict_all(client)
            raise
        raise AssertionError

    return receive


def test_an_evicted_body_is_told_that_the_memory_is_full(client: Client) -> None:
    status, detail = asked(client, waiting(client, evicts_first=True), *writing(client))

    told = "Bodies that are still arriving fill 0 bytes of this server process"
    assert (status, detail.partition(", and")[0]) == (408, told)


def test_a_body_that_is_evicted_while_its_time_runs_out_fails_no_other_request(catalogue_home: Path) -> None:
    with Client(configuration.load(home=catalogue_home), body_timeout_s=0) as client:
        status, _ = asked(client, waiting(client, evicts_first=False), *writing(client))

    assert status == 408


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_slow_body_is_told_the_time_it_has(catalogue_home: Path) -> None:
    with Client(configuration.load(home=catalogue_home), body_timeout_s=0) as client:
        _, detail = asked(client, never, *writing(client))

    assert detail == "The body did not arrive completely within 0 s; send it faster, or raise MATINEE_BODY_TIMEOUT_S."

"""Too much to do: what is beyond the places is turned away at once, and nothing that costs little ever is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.client import Client
from tests.processes import eventually

SLUG = "/docs/errors/overloaded"


@contextmanager
def full(client: Client) -> Iterator[None]:
    """Let other requests hold all places meanwhile."""
    places, most = client.front.places, client.config.max_in_flight
    for _ in range(most):
        places.take(is_admin=False)
    yield
    for _ in range(most):
        places.free(is_admin=False)


def test_a_request_without_a_place_is_told_to_come_again(movies: Client) -> None:
    with full(movies):
        shed = movies.get("/v1/movies?limit=3", headers={"x-request-id": "abc-1"})
    again = movies.get("/v1/movies?limit=3")

    assert (shed.status_code, shed.headers["retry-after"], shed.headers["cache-control"]) == (503, "1", "no-store")
    assert shed.headers["content-type"] == "application/problem+json"
    assert shed.json() == {
        "type": f"http://testserver{SLUG}",
        "title": "This server has too much to do right now.",
        "status": 503,
        "detail": "This server process works on 100 requests already; try again in a second, or raise MATINEE_MAX_IN_FLIGHT.",
        "errors": [],
        "request_id": "abc-1",
        "current_version": None,
    }
    assert again.status_code == 200


def test_what_was_turned_away_is_counted_as_that_and_as_a_request(movies: Client) -> None:
    labels = {"method": "GET", "route": "/v1/movies", "status": "503"}
    movies.front.publish()
    before = [
        REGISTRY.get_sample_value("matinee_http_shed_total"),
        REGISTRY.get_sample_value("matinee_http_requests_total", labels),
    ]

    with full(movies):
        movies.get("/v1/movies?limit=3")
        text = movies.get("/metrics").text

    assert f"matinee_http_shed_total {(before[0] or 0) + 1}" in text
    assert REGISTRY.get_sample_value("matinee_http_requests_total", labels) == (before[1] or 0) + 1
    assert "matinee_http_in_flight 100.0" in text


def test_health_and_what_is_kept_are_answered_without_a_place(movies: Client) -> None:
    kept = ("/v1/movies/1", "/v1/movies", "/v1/movies/99", "/v1/genres")
    eventually(lambda: movies.get(kept[0]).headers["cache-status"], lambda told: told == "matinee-local; hit")
    before = [movies.get(path).status_code for path in kept]

    with full(movies):
        health = [movies.get(path).status_code for path in ("/livez", "/readyz", "/metrics")]
        after = [movies.get(path).status_code for path in kept]

    assert health == [200] * 3
    assert before == after == [200, 200, 404, 200]


def test_any_number_of_health_requests_takes_no_place_and_one_statement(movies: Client) -> None:
    movies.health.position.kept_s = 60.0
    taken: list[int] = []
    before = movies.reader.statements

    async def place() -> int:
        taken.append(movies.front.places.taken)
        return await movies.runtime.catalogue.position()

    movies.health.position._make = place
    statuses = [movies.get("/readyz").status_code for _ in range(5)]

    assert (statuses, taken, movies.reader.statements - before) == ([200] * 5, [0], 1)


def test_metrics_are_rendered_once_for_all_who_ask_within_a_second(movies: Client) -> None:
    movies.health.metrics.kept_s = 60.0

    first = movies.get("/metrics").content
    movies.get("/v1/movies/1")

    assert movies.get("/metrics").content == first


@pytest.mark.parametrize("path", ["/v1/movies/1", "/v1/changes", "/docs", "/admin/login/", "/static/none.css", "/nowhere"])
def test_all_else_needs_a_place(movies: Client, path: str) -> None:
    with full(movies):
        shed = movies.get(path)

    assert (shed.status_code, shed.json()["type"]) == (503, f"http://testserver{SLUG}")


def test_the_admin_may_fill_its_quarter_and_reads_go_on(movies: Client) -> None:
    places = movies.front.places
    for _ in range(25):
        places.take(is_admin=True)

    assert movies.get("/admin/login/").status_code == 503
    assert movies.get("/v1/movies").status_code == 200


def test_every_place_is_given_back_whatever_came_of_the_request(movies: Client) -> None:
    for path in ("/v1/movies/1", "/v1/movies/77", "/v1/movies?nonsense=1", "/admin/login/", "/livez"):
        movies.get(path)
    movies.write("POST", "/v1/movies", {"title": "Alien"})
    movies.request("POST", "/v1/movies", content=b"x" * (movies.config.max_body_bytes + 1))

    assert movies.front.places.taken == 0


def asked(client: Client, path: str, receive: Any, *headers: tuple[bytes, bytes], method: str = "POST") -> Any:
    """Return a coroutine that sends a request whose body comes from `receive`, and returns its status."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def run() -> int:
        stated = [(b"host", b"localhost"), *headers]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": stated,
        }
        await client.front({**scope, "http_version": "1.1", "scheme": "http", "root_path": "", "asgi": {}}, receive, send)
        return statuses[0]

    return run()


def test_who_sends_a_body_slowly_keeps_nobody_out(movies: Client) -> None:
    seen: list[int] = []

    async def receive() -> Any:
        if seen:
            await asyncio.Event().wait()  # Django waits here for the client to hang up
        await asyncio.sleep(0)
        seen.append(movies.front.places.taken)
        return {"type": "http.request", "body": b"a=1", "more_body": False}

    status = movies._loop.run_until_complete(asked(movies, "/admin/login/", receive, (b"content-length", b"3")))

    assert (seen, status, movies.front.places.taken) == ([0], 403, 0)  # 403: no token against forgery


def test_a_body_that_ends_when_all_places_are_taken_is_turned_away(movies: Client) -> None:
    async def last() -> Any:
        for _ in range(movies.config.max_in_flight):
            movies.front.places.take(is_admin=False)
        return {"type": "http.request", "body": b"a=1", "more_body": False}

    status = movies._loop.run_until_complete(asked(movies, "/admin/login/", last, (b"content-length", b"3")))

    assert (status, movies.front.places.taken) == (503, movies.config.max_in_flight)


@pytest.mark.parametrize("header", [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")])
def test_the_body_of_what_is_turned_away_is_read_so_that_the_connection_can_be_used_again(
    movies: Client, header: tuple[bytes, bytes]
) -> None:
    parts = [{"type": "http.request", "body": b"ab", "more_body": more} for more in (True, False)]

    async def receive() -> Any:
        return parts.pop(0)

    with full(movies):
        status = movies._loop.run_until_complete(asked(movies, "/v1/movies", receive, header))

    assert (status, parts) == (503, [])


def test_a_write_whose_turn_comes_too_late_is_not_begun(movies: Client) -> None:
    before, movies.runtime.config = movies.get("/v1/changes").json()["position"], movies.config
    object.__setattr__(movies.config, "write_timeout_ms", 100)
    held = threading.Event()
    movies.runtime.writes.submit(held.wait, 10)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(lambda: threading.Event().wait(0.3) or held.set())
        late = movies.write("POST", "/v1/movies", {"title": "Too late"})

    assert (late.status_code, json.loads(late.text)["type"]) == (503, f"http://testserver{SLUG}")
    assert movies.get("/v1/changes").json()["position"] == before

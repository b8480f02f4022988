"""What a hit of the local tier leaves out and must not lose: looks at the catalogue, counts, lines of the log, memory."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.http.public_reads import PublicReads
from matinee.logs import AccessLog, lines
from matinee.logs.process import target_of
from matinee.logs.sink import Sink
from tests.client import Client
from tests.processes import eventually

MOVIE, ABSENT = "/v1/movies/1", "/v1/movies/999"


@pytest.fixture
def movies(small_catalogue: Path) -> Iterator[Client]:
    """Return the service over the small catalogue, which has followed the log to its end and holds the first movie."""
    with Client(configuration.load(home=small_catalogue)) as client:
        client.get("/readyz")
        eventually(lambda: client.get("/livez") and client.runtime.catalogue.known(), lambda known: known is not None)
        client.get(MOVIE)
        yield client


def scope(path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": list(headers)}


def test_hits_of_one_turn_of_the_loop_share_a_look_and_the_next_turn_looks_again(
    movies: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: PublicReads = movies.front.api.state.reads  # type: ignore[attr-defined]
    looks, known = [], reads._catalogue.known
    monkeypatch.setattr(reads._catalogue, "known", lambda: looks.append(1) or known())

    async def two_turns() -> list[int]:
        counts = []
        for _ in range(2):
            counts += [len(looks) for _ in range(3) if reads.hit(scope(MOVIE), 0.0) is not None]
            await asyncio.sleep(0)
        return counts

    assert movies._loop.run_until_complete(two_turns()) == [1, 1, 1, 2, 2, 2]


def test_what_is_kept_of_an_absence_holds_on_to_no_request(movies: Client) -> None:
    absent = "/v1/movies/424242"  # of this test alone: requests of others may not have been collected yet
    refused = [movies.get(absent) for _ in range(3)]

    kept = movies.runtime.local.peek(absent)

    assert [answer.status_code for answer in refused] == [404] * 3
    assert kept.absence[1] == refused[0].json()["detail"]
    assert [held for held in gc.get_objects() if isinstance(held, dict) and held.get("path") == absent] == []


def test_hits_are_counted_when_the_metrics_are_asked_for(movies: Client) -> None:
    line = 'matinee_http_requests_total{method="GET",route="/v1/movies/{movie_id}",status="304"} '
    etag = movies.get(MOVIE).headers["etag"]
    before = movies.get("/metrics").text

    for _ in range(3):
        movies.get(MOVIE, headers={"if-none-match": etag})

    assert counted(movies.get("/metrics").text, line) - counted(before, line) == 3


def counted(text: str, begin: str) -> float:
    return sum(float(line.removeprefix(begin)) for line in text.splitlines() if line.startswith(begin))


def test_lines_of_the_log_are_whole_json_whatever_a_path_holds(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    config = configuration.load({"MATINEE_LOG_FILE": str(path), "LOG_LEVEL": "info"})
    sink = Sink()
    sink.use(target_of(config), lines.as_json)

    async def note() -> None:
        log = AccessLog(config, sink)
        log.note("GET", '/v1/movies/"\n', 200, 0.0012349, 7, b"a-1", "192.0.2.1")
        log.note("HEAD", "/", 404, 1.5, 0, b"a-2", "192.0.2.2")
        log.flush()

    asyncio.run(note())
    assert sink.drain()

    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["method"], line["path"], line["status"], line["duration_ms"], line["bytes"]) for line in written] == [
        ("GET", '/v1/movies/"\n', 200, 1.234, 7),
        ("HEAD", "/", 404, 1500.0, 0),
    ]
    assert [(line["request_id"], line["client"], line["event"], line["level"]) for line in written] == [
        ("a-1", "192.0.2.1", "request", "info"),
        ("a-2", "192.0.2.2", "request", "info"),
    ]


def test_a_demand_counts_in_a_request_without_a_host_too(movies: Client) -> None:
    reads: PublicReads = movies.front.api.state.reads  # type: ignore[attr-defined]
    demand = (b"matinee-min-position", b"13")

    async def ask() -> list[bool]:
        return [reads.hit(scope(MOVIE, *headers), 0.0) is not None for headers in ((), (demand,), ((b"host", b"a b"),))]

    assert movies._loop.run_until_complete(ask()) == [True, False, False]

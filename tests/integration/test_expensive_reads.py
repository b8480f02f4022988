"""Expensive reads on SQLite's file: they are cut on the event loop, run beside it, and other reads are answered meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from prometheus_client import REGISTRY

from matinee import config as configuration
from matinee.domain.freshness import ANY
from matinee.errors import NoReaderAvailable
from matinee.storage.sql import Statement
from matinee.storage.sqlite import SqliteFile
from tests.client import Client

T = TypeVar("T")
pytestmark = pytest.mark.sqlite_only("PostgreSQL's reads never run on the event loop; see test_routing.py")
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) SELECT max(i) FROM n"
LONG = ENDLESS.replace("1e12", "20000")  # 20 looks at the clock
SHORT = "SELECT count(*) FROM movie_document"


def long(text: str = LONG) -> Statement:
    """Return a statement whose shape may become expensive."""
    return Statement(text, name="long", shape="long")


def play(home: Path, scenario: Callable[[SqliteFile], Awaitable[T]], limit_s: float = 0.0, timeout_ms: int = 60_000) -> T:
    """Play a scenario with a file of which every look at the clock cuts a statement, or with another limit."""

    async def run() -> T:
        file = SqliteFile(home / "catalogue.sqlite3", timeout_ms=timeout_ms, expensive_reads=1)
        file.expensive.limit_s = limit_s
        try:
            return await scenario(file)
        finally:
            await file.close()

    return asyncio.run(run())


@contextmanager
def counted() -> Iterator[list[float]]:
    """Count the expensive reads of a block that were run, and those that were refused."""

    def now() -> list[float]:
        return [
            REGISTRY.get_sample_value("matinee_expensive_reads_total", {"outcome": name}) or 0 for name in ("run", "refused")
        ]

    before, found = now(), list[float]()
    yield found
    found += [after - start for after, start in zip(now(), before, strict=True)]


def test_a_read_that_holds_the_loop_is_cut_and_answered_by_a_thread_as_of_its_own_snapshot(small_catalogue: Path) -> None:
    async def scenario(file: SqliteFile) -> tuple[object, int]:
        return await file.rows(long(), ANY), file.newest_position()

    with counted() as run:
        answered, position = play(small_catalogue, scenario)

    assert (answered.rows, answered.as_of.position, run) == ([(20_000,)], position, [1, 0])


def test_a_thread_reads_over_a_connection_that_states_what_it_relies_on(small_catalogue: Path) -> None:
    async def scenario(file: SqliteFile) -> list[object]:
        file.expensive.suspect("long")
        answers = [await file.rows(long(f"PRAGMA {name}"), ANY) for name in ("query_only", "trusted_schema")]
        return [answer.rows for answer in answers]

    assert play(small_catalogue, scenario) == [[(1,)], [(0,)]]


def test_a_read_that_is_cheap_stays_on_the_loop(small_catalogue: Path) -> None:
    async def scenario(file: SqliteFile) -> bool:
        await file.rows(Statement(SHORT, shape="short"), ANY)
        await file.rows(long(), ANY)
        return file.expensive.knows("long")

    with counted() as run:
        is_expensive = play(small_catalogue, scenario, limit_s=math.inf)

    assert (is_expensive, run) == (False, [0, 0])


def test_cheap_reads_are_answered_while_an_expensive_one_runs(small_catalogue: Path) -> None:
    async def scenario(file: SqliteFile) -> tuple[list[object], bool, int]:
        endless = asyncio.create_task(file.rows(long(ENDLESS), ANY))
        await asyncio.sleep(0)
        cheap = [(await file.rows(Statement(SHORT), ANY)).rows for _ in range(3)]
        is_over = endless.done()
        endless.cancel()
        await asyncio.wait({endless})
        return cheap, is_over, file.expensive.running

    cheap, is_over, running = play(small_catalogue, scenario)

    assert (cheap, is_over, running) == ([cheap[0]] * 3, False, 0)


def test_the_next_read_of_an_expensive_shape_does_not_begin_on_the_loop(small_catalogue: Path) -> None:
    begun: list[str] = []

    async def scenario(file: SqliteFile) -> None:
        file.expensive.measured("long", 2.0)
        file._attempt = lambda statement: begun.append(statement.name)  # type: ignore[method-assign]
        await file.rows(long(), ANY)

    play(small_catalogue, scenario, limit_s=1.0)

    assert begun == []


def test_an_expensive_read_ends_at_the_time_out_of_reads(small_catalogue: Path) -> None:
    async def scenario(file: SqliteFile) -> bool:
        with pytest.raises(NoReaderAvailable):
            await file.rows(long(ENDLESS), ANY)
        return file.expensive.knows("long")

    assert play(small_catalogue, scenario, timeout_ms=50)


def test_a_statement_that_was_cut_leaves_the_connection_open(small_catalogue: Path) -> None:
    async def scenario(file: SqliteFile) -> bool:
        await file.rows(Statement(SHORT), ANY)
        connection = file._connection
        await file.rows(long(), ANY)
        return file._connection is connection

    assert play(small_catalogue, scenario)


def test_every_public_read_is_answered_the_same_when_it_is_cut(small_catalogue: Path) -> None:
    paths = ("/v1/movies", "/v1/movies?votes_min=1&sort=title", "/v1/movies?ids=1,2,3", "/v1/search?q=a", "/v1/suggest?q=a",
             "/v1/people/1", "/v1/movies/1", "/v1/genres", "/v1/changes")  # fmt: skip
    answers = []
    for limit_s in (math.inf, -1.0):
        with Client(configuration.load(home=small_catalogue), local_cache_bytes=0) as client:
            source = client.reader._source
            source.expensive.limit_s = limit_s
            source._connect().connection.set_progress_handler(source._is_late, 1)
            answers.append([client.get(path).json() for path in paths])

    assert answers[0] == answers[1]
    assert "errors" not in str(answers)

"""A thousand clients want the same movie at the same moment, and nobody has it: how often it is read, and who is harmed."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from tests import postgres
from tests.cluster.load import Wire
from tests.processes import Server, eventually, start_server
from tests.shared_tiers import RedisServer, comes, running

T = TypeVar("T")

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: a lock there makes a read take as long as is needed"),
]
CLIENTS, SERVERS = 1_000, 3
KNOWN, COLD = 1, (2, 3, 4, 5, 6)
LOADS = ('matinee_statement_seconds_count{name="movie_by_id"}', 'matinee_statement_seconds_count{name="movies_by_ids"}')
JOINED = 'matinee_cache_collapsed_total{policy="s3fifo",tier="local"}'


@contextmanager
def servers(home: Path, **settings: str) -> Iterator[list[Server]]:
    """Run three servers that have read something already, so that nothing but the movie is new to them."""
    # All clients have one address, and are idle for seconds: a look at the metrics waits for fresh ones.
    settings |= {"MATINEE_READ_TIMEOUT_MS": "20000", "MATINEE_ACCESS_LOG": "off", "MATINEE_CLIENT_CONNECTIONS": "0"}
    with ExitStack() as left:
        three = [left.enter_context(start_server(home, **settings)) for _ in range(SERVERS)]
        for server in three:
            eventually(
                lambda server=server: server.get(f"/v1/movies/{KNOWN}").headers["cache-status"], lambda told: "hit" in told
            )
        yield three


@contextmanager
def reads_waiting() -> Iterator[psycopg.Connection]:
    """Let every read of a movie wait until the session's transaction or this ends."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        session.execute("LOCK TABLE movie_document IN ACCESS EXCLUSIVE MODE")
        yield session


def waiting(session: psycopg.Connection) -> int:
    """Return how many sessions wait for a lock."""
    row = session.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return int(row[0]) if row else 0


def counted(several: list[Server], *names: str) -> list[int]:
    """Return, of each server, the sum of some numbers that it has counted."""
    pages = [fresh_metrics(server).splitlines() for server in several]
    return [sum(int(float(line.split()[-1])) for line in lines if line.startswith(names)) for lines in pages]


def fresh_metrics(server: Server) -> str:
    """Return metrics that were rendered after this call: they are kept for a second, and count the requests for them."""
    kept = server.get("/metrics").text
    return eventually(lambda: server.get("/metrics").text, lambda text: text != kept)


async def seen(look: Callable[[], T], expected: Callable[[T], bool]) -> T:
    """Wait until what is looked at, beside what goes on, is as expected."""
    return await comes(lambda: asyncio.to_thread(look), expected, 20)


async def connected(several: list[Server]) -> list[Wire]:
    """Return the clients, spread evenly over the servers."""
    return [await Wire.connect(several[number % len(several)].url) for number in range(CLIENTS)]


async def wanted(movie: int, clients: list[Wire]) -> Counter[tuple[int, bytes]]:
    """Let clients ask for a movie, all at the same moment; return what was answered, and how often."""
    answers = await asyncio.gather(*(client.ask("GET", f"/v1/movies/{movie}", "", b"") for client in clients))
    return Counter((status, body[:9]) for status, _, body in answers)


def test_each_server_reads_a_movie_once_for_all_and_the_first_client_who_hangs_up_harms_nobody(small_catalogue: Path) -> None:
    async def play(three: list[Server], session: psycopg.Connection) -> Counter[tuple[int, bytes]]:
        first, *others = await connected(three)
        leaving = asyncio.create_task(wanted(COLD[0], [first]))
        await seen(lambda: waiting(session), lambda count: count == 1)
        staying = asyncio.create_task(wanted(COLD[0], others))
        await seen(lambda: sum(counted(three, JOINED)), lambda count: count == CLIENTS - SERVERS)
        first.close()
        await asyncio.gather(leaving, return_exceptions=True)
        await seen(lambda: three[0].get("/livez").status_code, lambda status: status == 200)  # by now it has heard of that
        session.rollback()
        return await staying

    with servers(small_catalogue) as three:
        before = counted(three, *LOADS)
        with reads_waiting() as session:
            answers = asyncio.run(play(three, session))
        after = counted(three, *LOADS)

    assert answers == {(200, b'{"id":2,"'): CLIENTS - 1}
    assert [now - had for now, had in zip(after, before, strict=True)] == [1, 1, 1]


def test_with_a_shared_tier_one_server_reads_a_movie_for_all(small_catalogue: Path, tmp_path: Path) -> None:
    async def play(three: list[Server]) -> list[tuple[int, Counter[tuple[int, bytes]]]]:
        clients, done = await connected(three), []
        for movie in COLD:
            before = sum(counted(three, *LOADS))
            answers = await wanted(movie, clients)
            done.append((sum(counted(three, *LOADS)) - before, answers))
        return done

    # The deadline is a patient one: where a machine has too much to do, all servers would leave Redis alone.
    with running(RedisServer, tmp_path) as redis, servers(
        small_catalogue, REDIS_URL=redis.url, MATINEE_SHARED_CACHE_DEADLINE_MS="2000"
    ) as three:  # fmt: skip
        done = asyncio.run(play(three))

    assert [answers for _, answers in done] == [{(200, b'{"id":%d,"' % movie): CLIENTS} for movie in COLD]
    # Others wait for 150 ms for the one that reads; when it does not get its turn for so long, they read for themselves.
    assert [loads for loads, _ in done].count(1) >= len(COLD) - 1

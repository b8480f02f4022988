"""Positions rise in commit order: whoever tails the log never passes a position that is committed later."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from matinee import config as configuration
from matinee import runtime
from matinee.domain.movie import parse_content
from matinee.write import movies
from tests import postgres
from tests.cluster import writing
from tests.cluster.catalogue_file import ask, contradictions
from tests.processes import end, environment, eventually

# SQLite lets those who wait try again and again, which takes the longer the more they are.
_WRITERS = 8 if postgres.wanted() else 4
_WRITES = 30
_DEADLINE_S = 90.0


class Tail:
    """One who follows the log: asks for what comes after the newest position that it has seen."""

    def __init__(self, home: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._reader = runtime.reader(configuration.load(home=home, read_timeout_ms=30_000))
        self.seen: list[int] = []

    def read(self) -> int:
        """Read what there is by now, a few changes at a time; return how much it was."""
        since = self.seen[-1] if self.seen else 0
        found = [change.position for change in self._loop.run_until_complete(self._reader.changes(since, 7))]
        self.seen += found
        return len(found)

    def close(self) -> None:
        """Read no more."""
        self._loop.run_until_complete(self._reader.close())
        self._loop.close()

    def read_on(self, times: int) -> None:
        """Read this often, and then to the end."""
        for _ in range(times):
            self.read()
        while self.read():
            pass


@pytest.fixture
def tail(catalogue_home: Path) -> Iterator[Tail]:
    tail = Tail(catalogue_home)
    yield tail
    tail.close()


@contextmanager
def writers(home: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run the writing processes and end them afterwards."""
    words = [sys.executable, writing.__file__]
    env = environment(home, MATINEE_BUSY_TIMEOUT_MS="60000", MATINEE_WRITE_TIMEOUT_MS="60000")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(_WRITERS):
            arguments = [f"writer {number}", str(number), str(_WRITES)]
            started.append(subprocess.Popen([*words, *arguments], env=env, stdout=subprocess.PIPE))
        yield started
    finally:
        for process in started:
            end(process)
            if process.stdout:
                process.stdout.close()


def skipped(tail: Tail, home: Path) -> list[int]:
    """Return the positions of the log that the tail has passed without seeing them."""
    assert tail.seen == sorted(set(tail.seen))
    log = [position for (position,) in ask(home, "SELECT position FROM change ORDER BY position")]
    return sorted(set(log) - set(tail.seen))


def test_a_tail_of_the_log_sees_every_commit_of_many_writers_in_order(catalogue_home: Path, tail: Tail) -> None:
    with writers(catalogue_home) as processes:
        eventually(lambda: (tail.read_on(50), [p.poll() for p in processes])[1], lambda codes: None not in codes, _DEADLINE_S)
        tail.read_on(1)
        committed = [json.loads(process.communicate()[0]) for process in processes]

    assert skipped(tail, catalogue_home) == []
    assert tail.seen == list(range(1, len(tail.seen) + 1))  # no gaps: what was rolled back gave its position back
    assert tail.seen == sorted(position for positions in committed for position in positions)
    assert all(positions == sorted(positions) for positions in committed)
    assert contradictions(catalogue_home) == []


def test_what_the_writers_roll_back_leaves_no_trace(catalogue_home: Path) -> None:
    with writers(catalogue_home) as processes:
        codes = [process.wait(_DEADLINE_S) for process in processes]
        committed = [json.loads(process.communicate()[0]) for process in processes]

    kept = sum(len(positions) for positions in committed)
    assert codes == [0] * _WRITERS
    assert 0 < kept < _WRITERS * _WRITES
    trace = f"{writing.ROLLED_BACK}%"
    for table, column in (("movie", "title"), ("person", "name"), ("change", "actor"), ("movie_document", "title_key")):
        assert ask(catalogue_home, f"SELECT {column} FROM {table} WHERE {column} LIKE ?", trace) == []
    assert ask(catalogue_home, "SELECT count(*), max(id) FROM movie") == [(kept, kept)]


def test_a_writer_that_takes_its_position_without_the_lock_is_caught(catalogue_home: Path, tail: Tail) -> None:
    film = parse_content({"title": "A film"})
    movies.create(film, "careful")
    with connection.cursor() as careless:
        careless.execute("UPDATE log_head SET position = position + 1 RETURNING position")
        ((taken,),) = careless.fetchall()
        movies.create(film, "careful")
        tail.read_on(1)
        columns = "position, subject, subject_id, kind, version, actor, at, detail"
        late = (
            f"INSERT INTO change ({columns}) VALUES (%s, 'movie', 1, 'updated', 2, 'careless', '2024-01-01 00:00:00', '{{}}')"
        )
        careless.execute(late, (taken,))
    tail.read_on(1)

    assert tail.seen == [1, 3]
    assert skipped(tail, catalogue_home) == [taken] == [2]

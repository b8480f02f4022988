"""An export whose consumer stalls holds nothing open in the database, and what it writes is still each movie once."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from matinee.storage import sqlite_log
from matinee.write import batches, upkeep
from matinee.write import movies as writes
from tests import postgres
from tests.movies import record
from tests.processes import MATINEE, end, environment, eventually, freeze

MOVIES = 400


def add(count: int, prefix: str) -> None:
    """Add movies of 3 kB."""
    made = [record(line, title=f"{prefix} {line}", year=1990, overview="x" * 3_000) for line in range(1, count + 1)]
    assert batches.write(made, "tests").rejected == []


@pytest.fixture
def large(catalogue_home: Path) -> Path:
    """Return a catalogue whose export is larger than a pipe's buffer."""
    add(MOVIES, "old")
    return catalogue_home


@contextmanager
def stalled_export(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an export into a pipe of which only the first line is read."""
    process = subprocess.Popen([*MATINEE, "export", "ndjson"], env=environment(home), stdout=subprocess.PIPE, bufsize=0)
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"{"
        # It waits in its write to the full pipe: the kernel says so in the process's state.
        eventually(lambda: Path(f"/proc/{process.pid}/wchan").read_text(), lambda place: place != "0" and bool(place))
        yield process
    finally:
        end(process)


def held(home: Path) -> int:
    """Return how many pages or sessions of the database are held back by somebody's transaction."""
    if postgres.wanted():
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'matinee-%' "
                "AND (backend_xmin IS NOT NULL OR state LIKE 'idle in transaction%')"
            )
            return int(session.execute(query).fetchall()[0][0])
    with closing(sqlite3.connect(home / "catalogue.sqlite3")) as file:
        _, log_pages, done_pages = file.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(log_pages - done_pages)


def test_a_stalled_export_holds_no_transaction_and_writes_each_movie_once(large: Path) -> None:
    with stalled_export(large) as export:
        add(3, "new")

        eventually(lambda: held(large), lambda count: count == 0)

        assert export.stdout is not None
        titles = [json.loads(line)["title"] for line in (b"{" + export.stdout.read()).splitlines()]
        assert export.wait(60) == 0
    wanted = [f"old {line}" for line in range(1, MOVIES + 1)] + [f"new {line}" for line in (1, 2, 3)]
    assert titles == wanted


def test_a_frozen_export_holds_no_transaction(large: Path) -> None:
    with stalled_export(large) as export:
        freeze(export.pid)
        add(3, "new")

        eventually(lambda: held(large), lambda count: count == 0)


def test_a_movie_that_changes_during_an_export_is_written_once(large: Path) -> None:
    import asyncio

    from matinee import config, runtime

    async def exported() -> list[str]:
        catalogue, titles = runtime.build(config.load(home=large)).catalogue, []
        async for body in catalogue.documents():
            titles.append(json.loads(body)["title"])
            if len(titles) == 150:
                await asyncio.to_thread(change)
        await catalogue.close()
        return titles

    def change() -> None:
        for movie_id in (1, 300):
            writes.patch(movie_id, {"title": f"changed {movie_id}"}, "tests", None)

    titles = asyncio.run(exported())

    wanted = [f"old {line}" for line in range(1, MOVIES + 1) if line != 300] + ["changed 300"]
    assert titles == wanted


@pytest.mark.sqlite_only("PostgreSQL recycles its own log")
def test_the_log_is_cut_when_a_long_read_has_ended(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "LOG_BYTES", 100_000)
    monkeypatch.setattr(sqlite_log, "_next_try_s", 0.0)
    log = large / "catalogue.sqlite3-wal"
    with closing(sqlite3.connect(large / "catalogue.sqlite3", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM movie").fetchone()
        add(100, "while it is read")
        size_bytes = log.stat().st_size
    monkeypatch.setattr(sqlite_log, "_next_try_s", 0.0)

    upkeep.bound_log()

    assert size_bytes > 100_000
    assert log.stat().st_size == 0

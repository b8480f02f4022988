"""The source of the embedded default: read-only connections to the one SQLite file, in the process that asks.

Called by runtime. It never writes: the file is opened read-only, so a mistake here cannot.
A statement runs on the event loop: a primary-key lookup takes ten microseconds, a hand-over to a thread six times that.
A statement that has held the loop for 4 ms is cut, and runs again in a thread of its own, in a place for expensive reads
(expensive_reads.py); the next statements of its shape go there at once. Many reads share the loop in turns (turns.py).
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from matinee.background import yield_to_the_loop
from matinee.domain.change_log import FLOOD_CHANGES, ChangeLog, LogRow
from matinee.domain.freshness import AsOf, Demand
from matinee.errors import FuturePosition, NoReaderAvailable
from matinee.storage.expensive_reads import ExpensiveReads
from matinee.storage.leader_state import leader as leader_state
from matinee.storage.source import Answered
from matinee.storage.sql import Engine, Statement, named_queries
from matinee.storage.sql_reader import SqlReader
from matinee.storage.sqlite_session import prepare_reader
from matinee.storage.turns import Turns

_OPS_BETWEEN_CLOCKS = 1_000  # virtual machine steps: 20 us of counting, 0.7 ms of rows that are looked up one by one
_WAIT_RATIO = 0.5  # of a read's time that it may wait for a place
_NO_VALUES: dict[str, Any] = {}
_LOOK_INTERVAL_S = 0.5  # how long a file that is gone or replaced may still be read; a look costs 2 microseconds


class SqliteFile:
    """Sends statements to one SQLite file. Not shared between threads; each server process makes its own."""

    engine: Engine = "sqlite"

    def __init__(self, path: Path, *, timeout_ms: int = 1_000, expensive_reads: int = 2) -> None:
        """`expensive_reads` is how many of them run at once, each in a thread."""
        self._path = path
        self._timeout_s = timeout_ms / 1000
        self._turns = Turns(self._timeout_s)
        self.expensive = ExpensiveReads(expensive_reads, self._timeout_s * _WAIT_RATIO)
        self._threads = ThreadPoolExecutor(expensive_reads, "matinee-expensive-read", yield_to_the_loop)
        self._deadline_s = self._next_look_s = 0.0
        self._cut_s, self._was_cut = math.inf, False
        self._file: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None  # one for all statements: each is read to its end before the next
        self._sql = named_queries()
        self.log = ChangeLog()
        leader_state.forget_writes()
        self._seen_s = time.monotonic()
        self._data_version = -1
        self._is_other_file = False  # than the one whose log was followed
        self._as_of = AsOf()
        self.statements = 0

    async def turn(self, statement: Statement) -> None:
        """Let the loop turn first when reads have held it for long. Raises: NoReaderAvailable when that takes too long."""
        is_cheap = not statement.shape
        if self._turns.is_over(is_cheap=is_cheap) and not self.expensive.knows(statement.shape):
            await self._turns.wait(is_cheap=is_cheap)

    async def rows(self, statement: Statement, demand: Demand) -> Answered:
        """Return all rows of a statement. The file is the leader itself, so what it does not hold has not happened yet."""
        as_of = self._now()
        if demand.min_position > as_of.position and not demand.is_forgiving:
            raise FuturePosition(f"The newest position is {as_of.position}, not yet {demand.min_position}.")
        self.statements += 1
        if not self.expensive.knows(statement.shape):
            rows = self._attempt(statement)
            if rows is not None:
                return Answered(rows, as_of)
        return await self._beside(statement)

    def _attempt(self, statement: Statement) -> list[Any] | None:
        """Return the rows of a statement; None when it was cut because it held the event loop for too long."""
        if not statement.shape:  # of a fixed number of rows: it is never cut, and the clock of the processor is a system call
            rows = self._execute(statement.text, statement.values)
            self._turns.used(time.monotonic() - self._seen_s, is_cheap=True)
            return rows
        # Processor time: a busy machine, on which all reads take long, makes none of them expensive.
        began_s = time.thread_time()
        self._cut_s = began_s + self.expensive.limit_s
        try:
            rows = self._execute(statement.text, statement.values)
        except NoReaderAvailable:
            if self._was_cut:
                return None
            raise
        finally:
            self._cut_s, self._was_cut = math.inf, False
        self._turns.used(time.monotonic() - self._seen_s, is_cheap=False)
        if time.thread_time() - began_s > self.expensive.limit_s:
            self.expensive.suspect(statement.shape)  # full-text matching is not cut: the clock is not looked at within it
        return rows

    async def _beside(self, statement: Statement) -> Answered:
        """Return the rows of an expensive statement, which a thread reads over a connection of its own."""
        async with self.expensive.place(statement.asking):
            stop = threading.Event()
            reading = asyncio.get_running_loop().run_in_executor(self._threads, self._read_in_thread, statement, stop)
            try:
                position, rows, took_s = await asyncio.shield(reading)
            except asyncio.CancelledError:
                stop.set()
                await asyncio.wait({reading})  # the place is taken as long as the thread is
                raise
            except NoReaderAvailable:
                self.expensive.measured(statement.shape, self._timeout_s, statement.asking)
                raise
            self.expensive.measured(statement.shape, took_s, statement.asking)
            return Answered(rows, AsOf(position))

    def _read_in_thread(self, statement: Statement, stop: threading.Event) -> tuple[int, list[Any], float]:
        """Return the position, the rows, both of one snapshot, and the processor time that reading took."""
        deadline_s, began_s = time.monotonic() + self._timeout_s, time.thread_time()
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
                prepare_reader(connection)
                connection.set_progress_handler(lambda: stop.is_set() or time.monotonic() > deadline_s, _OPS_BETWEEN_CLOCKS)
                connection.execute("BEGIN")
                ((position,),) = connection.execute(self._sql["position"]).fetchall() or ((0,),)
                rows = connection.execute(statement.text, statement.values).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(error) from error
        return position, rows, time.thread_time() - began_s

    async def latest_position(self) -> int:
        """Return the position of the file, which is the leader."""
        return self._now().position

    def newest_position(self) -> int:
        """Return the newest position in the file."""
        return self._now().position

    def known(self) -> AsOf | None:
        """Return what the followed log reflects, which is what the file holds now; None when the file cannot be read."""
        try:
            return self._now()
        except NoReaderAvailable:
            return None

    def written(self) -> int:
        """Return the newest position that this process has written itself: it never shows what was before."""
        return leader_state.written

    def staleness_s(self, position: int) -> float:  # noqa: ARG002  the file holds every position
        """Return the time since the file could last be looked at: it is the leader itself."""
        return time.monotonic() - self._seen_s

    async def plan(self, statement: Statement) -> tuple[str, list[str]]:
        """Return the file and the plan that SQLite makes, without running it."""
        rows = self._execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.values)
        return str(self._path), [str(row[3]) for row in rows]

    def status(self) -> list[dict[str, Any]]:
        """Return nothing: there is one file, and it is there or not."""
        return []

    def degradation(self) -> str | None:
        """Return in a sentence that writes are refused, because the file or its folder is read-only; None when all is well.

        Cost: a few system calls.
        """
        beside = [self._path.with_name(self._path.name + suffix) for suffix in ("", "-wal", "-shm")]
        needed = [path for path in (self._path.parent, *beside) if path.exists()]
        locked = next((path for path in needed if not os.access(path, os.W_OK)), None)
        if locked is None:
            return None
        return f"{locked} is read-only: writes are refused. Make the catalogue's file and its folder writable for this user."

    async def close(self) -> None:
        """Close the file."""
        self._disconnect()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _now(self) -> AsOf:
        """Return the file's position, asked for anew only when somebody has committed since. Cost: a microsecond."""
        ((version,),) = self._execute("PRAGMA data_version", _NO_VALUES)
        if version != self._data_version:
            rows = self._execute(self._sql["position"], {})
            self._as_of = AsOf(rows[0][0] if rows else 0)
            self._follow()
            self._data_version = version
        return self._as_of

    def _follow(self) -> None:
        since = {"since": self.log.position, "limit": FLOOD_CHANGES + 1}
        rows = [LogRow(*row) for row in self._execute(self._sql["log_from"], since)] if self.log.histories else []
        if self.log.must_begin(rows) or self._is_other_file:
            self._is_other_file = False
            newest = self._execute(self._sql["log_newest"], {})
            self.log.begin(LogRow(*newest[0]) if newest else None)
        else:
            self.log.append(rows, time.monotonic())

    def _execute(self, text: str, values: dict[str, Any]) -> list[Any]:
        now_s = time.monotonic()
        self._deadline_s = now_s + self._timeout_s
        try:
            if now_s >= self._next_look_s:
                self._next_look_s = now_s + _LOOK_INTERVAL_S
                self._look_at_file()
            rows = (self._cursor or self._connect()).execute(text, values).fetchall()
        except sqlite3.Error as error:
            if not self._was_cut:  # a statement that was cut says nothing about the connection
                self._connection = self._cursor = None
            self._turns.used(time.monotonic() - now_s, is_cheap=self._cut_s == math.inf)
            raise _unreadable(error) from error
        self._seen_s = now_s
        return rows

    def _look_at_file(self) -> None:
        # An open file that was moved away or replaced (a restore) goes on to be read as it was, without an error: whether the
        # path still leads to it must be asked. What is there now is opened by this read, and if nothing is, that is its error.
        found = _identity(self._path)
        if found != self._file:
            self._disconnect()
            self._is_other_file = self.log.histories > 0
        self._file = found

    def _connect(self) -> sqlite3.Cursor:
        # The server makes one for its loop; tests and `matinee get` make theirs in one thread and use it in another.
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        prepare_reader(connection)
        connection.set_progress_handler(self._is_late, _OPS_BETWEEN_CLOCKS)
        self._connection, self._cursor = connection, connection.cursor()
        self._data_version = -1  # each connection counts the commits of others from its own beginning
        return self._cursor

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = self._cursor = None

    def _is_late(self) -> bool:
        self._was_cut = self._cut_s != math.inf and time.thread_time() > self._cut_s
        return self._was_cut or time.monotonic() > self._deadline_s


def _unreadable(error: sqlite3.Error) -> NoReaderAvailable:
    return NoReaderAvailable("The catalogue cannot be read right now; try again.", reason=f"{error}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file a path leads to, None when to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def sqlite_reader(path: Path, *, timeout_ms: int = 1_000) -> SqlReader:
    """Return a reader of one SQLite file."""
    return SqlReader(SqliteFile(path, timeout_ms=timeout_ms))

"""One PostgreSQL server that is read from: its pool of connections, and one statement under a hard deadline.

Called by followers.py, which chooses among servers, and watch.py, which looks after their health. It never writes: each
connection says so to the server, beside the role that cannot. A frozen server accepts and never answers. No time-out of the
server, the kernel or asyncio ends such a wait (psycopg first tries to cancel on the frozen server, which takes ten seconds);
shutting the socket down does, at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import socket
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from matinee.errors import NoReaderAvailable
from matinee.storage.postgres_session import parameters
from matinee.storage.sql import Statement

Connection = psycopg.AsyncConnection[TupleRow]

# A read is a page: few rows, each looked up by its key. To join in any other way, or to walk a table, is a guess gone wrong.
READ_SETTINGS = {
    "jit": "off", "enable_mergejoin": "off", "enable_hashjoin": "off", "enable_seqscan": "off",
    "max_parallel_workers_per_gather": "0", "enable_nestloop": "on", "enable_indexscan": "on", "enable_indexonlyscan": "on",
    "enable_bitmapscan": "on", "plan_cache_mode": "auto",
}  # fmt: skip
CONNECT_TIMEOUT_S = 1.0
_GRACE_S = 0.05  # a server that is well ends a statement by its own time-out, which keeps the connection
_NAMED_PLACE = re.compile(r"(?<!:):([a-z]\w*)")
# A snapshot's rows and its position in one statement; where nothing was found, there is one row that says the position alone.
_WITH_POSITION = "SELECT log_head.position, found.* FROM log_head LEFT JOIN LATERAL ({}) AS found ON TRUE WHERE log_head.id = 1"
# What fails for a reason that lies in the statement fails on every server: a value, the text, and the server's own time-out.
_SAME_EVERYWHERE = ("22", "42", "57014")


class ServerFailed(Exception):
    """This server could not answer; another one may."""


class ServerSilent(ServerFailed):
    """This server has not answered in time: it may be frozen, or only have too much to do."""


class ServerBusy(ServerSilent):
    """This server has not been asked: all connections were taken for as long as the read could wait for one."""


@dataclass(frozen=True)
class ServerOptions:
    """How a server is spoken to."""

    pool_size: int
    timeout_ms: int
    pgbouncer: bool = False


class Attempt:
    """One statement on its way to a server; whoever waits no longer cuts it."""

    __slots__ = ("_connection", "_is_over", "sent_s", "was_cut")

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._is_over = self.was_cut = False
        self.sent_s: float | None = None  # None: it waits for a connection

    def on(self, connection: Connection) -> None:
        """Note which connection the statement goes over."""
        self._connection, self.sent_s = connection, time.monotonic()

    def over(self) -> None:
        """Note that the connection is free again."""
        self._is_over = True

    def cut(self) -> None:
        """End the wait for an answer; the connection is lost with it."""
        if not self._is_over:
            self.was_cut = True
            if self._connection is not None:
                cut(self._connection)


class Server:
    """One PostgreSQL server."""

    def __init__(self, url: str, options: ServerOptions, label: str) -> None:
        """`label` is what the server's own list of sessions shows beside "matinee"."""
        self.url, self.options, self._label = url, options, label
        self.name = _name(url)
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._open_connections: set[Connection] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the pool. Raises: ServerFailed."""
        pool = AsyncConnectionPool(
            self.url,
            kwargs=self.session("reads"),
            min_size=min(2, self.options.pool_size),
            max_size=self.options.pool_size,
            open=False,
            configure=self._configure,
            reconnect_timeout=5,
        )
        try:
            await pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
        except PoolTimeout as error:
            self._end(pool)
            raise ServerFailed("it takes no connections") from error
        except BaseException:
            self._end(pool)  # the watch is stopped in the middle of this
            raise
        self._pool = pool

    def shut(self) -> None:
        """Cut every connection, so that nobody waits on this server any longer; the pool ends in the background."""
        pool, self._pool = self._pool, None
        for connection in self._open_connections:
            cut(connection)
        self._open_connections.clear()
        if pool is not None:
            self._end(pool)

    def _end(self, pool: AsyncConnectionPool[Connection]) -> None:
        """End a pool beside what goes on."""
        task = asyncio.ensure_future(pool.close(timeout=CONNECT_TIMEOUT_S))
        self._ending.add(task)  # the loop itself keeps no hold of a task
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Give the connections back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._end(pool)
        await asyncio.gather(*self._ending)

    def session(self, purpose: str) -> dict[str, Any]:
        """Return what a connection to this server is opened with."""
        kwargs: dict[str, Any] = {
            "autocommit": True,
            "application_name": f"matinee-{self._label}-{purpose}",
            "connect_timeout": 2,  # whole seconds, and libpq takes 1 for 2
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 5_000,
        }
        if self.options.pgbouncer:
            return kwargs | {"prepare_threshold": None} | parameters(self.url, {}, pgbouncer=True)
        settings = {"statement_timeout": self.options.timeout_ms, **READ_SETTINGS}
        # The watch finds out whether the leader lets the writer write, so its session must be as the server makes it.
        if (self._label, purpose) != ("leader", "watch"):
            settings["default_transaction_read_only"] = "on"
        if conninfo_to_dict(self.url).get("target_session_attrs") == "read-write":
            kwargs["target_session_attrs"] = "primary"  # a session that is read-only by its own setting is not "read-write"
        return kwargs | parameters(self.url, settings)

    async def rows(self, statement: Statement, wait_s: float, timeout_s: float, attempt: Attempt) -> tuple[int, list[Any]]:
        """Return the position and the rows of one statement, of one snapshot.

        Raises: ServerFailed when another server may do better; NoReaderAvailable when none will.
        """
        pool = self._pool
        if pool is None:
            raise ServerFailed("it is ejected")
        try:
            connection = await _taken(pool, min(wait_s, timeout_s))
        except PoolTimeout as error:
            raise ServerBusy("no connection was free in time") from error
        except PoolClosed as error:
            raise ServerFailed("its connections were closed") from error
        attempt.on(connection)
        timer = asyncio.get_running_loop().call_later(timeout_s + _GRACE_S, attempt.cut)
        try:
            if attempt.was_cut:
                raise ServerSilent("it did not answer in time")
            return await self._execute(connection, statement)
        except psycopg.Error as error:
            raise _failure(error, attempt) from error
        finally:
            timer.cancel()
            attempt.over()
            with contextlib.suppress(psycopg.Error, PoolClosed):
                await pool.putconn(connection)

    async def _execute(self, connection: Connection, statement: Statement) -> tuple[int, list[Any]]:
        prepare = statement.is_steady and not self.options.pgbouncer
        cursor = await connection.execute(postgres_text(statement.text), statement.values, prepare=prepare, binary=True)
        rows = await cursor.fetchall()
        if not rows:
            raise NoReaderAvailable("The catalogue is empty of its log; run `matinee migrate` on the leader.")
        found = rows if len(rows) > 1 or rows[0][1] is not None else []
        return rows[0][0], [row[1:] for row in found]

    async def plan(self, statement: Statement) -> list[str]:
        """Return the lines of a statement's plan, which is run for real and measured."""
        try:
            async with await psycopg.AsyncConnection.connect(self.url, **self.session("explain")) as connection:
                await self._configure(connection)
                how = f"EXPLAIN (ANALYZE, BUFFERS) {plain_text(statement.text)}"
                cursor = await connection.execute(how, statement.values, prepare=False)
                return [str(row[0]) for row in await cursor.fetchall()]
        except psycopg.Error as error:
            raise NoReaderAvailable("This statement cannot be explained.", reason=f"{self.name}: {_one_line(error)}") from error

    async def _configure(self, connection: Connection) -> None:
        # Python's numbers would else be sent as the smallest type that holds each, and every mixture of types is planned anew.
        connection.adapters.register_dumper(int, Int8Dumper)
        self._open_connections = {item for item in self._open_connections if not item.closed} | {connection}


async def _taken(pool: AsyncConnectionPool[Connection], within_s: float) -> Connection:
    """Return a free connection of a pool, and drop those that the server has closed while they were idle.

    The pool's own check waits a second after each of them; after a restart all are closed. Raises: PoolTimeout, PoolClosed.
    """
    ends_s = time.monotonic() + within_s
    while True:
        connection = await pool.getconn(timeout=ends_s - time.monotonic())
        if not has_ended(connection):
            return connection
        await connection.close()
        await pool.putconn(connection)


def has_ended(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Return whether the server has closed an idle connection: it has sent something that nobody asked for. Cost: 2 us.

    A connection that a firewall has dropped silently looks so after 11 s, when the kernel's keepalives got no answer.
    """
    if connection.closed:
        return True
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
    return bool(look.poll(0))


def cut(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Shut a connection's socket down: whoever waits on it is told that it is lost."""
    # psycopg owns the file descriptor itself; the duplicate is ours to close.
    with (
        contextlib.suppress(OSError, psycopg.Error, ValueError),
        socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)


@lru_cache(maxsize=4096)
def plain_text(text: str) -> str:
    """Return a named statement with its places as psycopg wants them."""
    return _NAMED_PLACE.sub(r"%(\1)s", text.replace("%", "%%"))


@lru_cache(maxsize=4096)
def postgres_text(text: str) -> str:
    """Return the same with the snapshot's position before each row."""
    return _WITH_POSITION.format(plain_text(text))


def _failure(error: psycopg.Error, attempt: Attempt) -> Exception:
    if attempt.was_cut:
        return ServerSilent("it did not answer in time")
    state = error.sqlstate or ""
    if state == "57014":
        return NoReaderAvailable("The read took longer than MATINEE_READ_TIMEOUT_MS; ask for less, or try again.")
    if state == "42P01":
        return NoReaderAvailable("The catalogue's tables are not there; run `matinee migrate` on the leader.")
    if state == "42501":
        return NoReaderAvailable("The role may not read the catalogue; run `matinee migrate` on the leader again.")
    if state.startswith(_SAME_EVERYWHERE):
        return error
    return ServerFailed(f"{state} {_one_line(error)}".strip())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _name(url: str) -> str:
    stated = conninfo_to_dict(url)
    hosts, ports = str(stated.get("host") or "localhost").split(","), str(stated.get("port") or "5432").split(",")
    return ",".join(f"{host}:{ports[min(index, len(ports) - 1)]}" for index, host in enumerate(hosts))

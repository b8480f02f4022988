"""Build the parts of one process from its Config: Django set up once, a reader, the catalogue's read and write sides.

Called by http and cli; the importers are handed what it builds. It must never decide anything about a movie.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from matinee import background
from matinee.cache.local import LocalTier
from matinee.cache.policy import make_policy
from matinee.cache.popularity import Counted, Counts, DatabaseCounts, NullCounts, Top, chosen_counts
from matinee.cache.sealed import Seals
from matinee.cache.shared import SharedTier, shared_tier
from matinee.cache.totals import NullTotals, Totals, chosen_totals
from matinee.config import Config
from matinee.domain.cursor import CursorSigner
from matinee.domain.freshness import ANY
from matinee.domain.popularity import Window
from matinee.read.catalogue import Catalogue
from matinee.read.loading import Loads
from matinee.storage.leader_state import due
from matinee.storage.reader import Reader
from matinee.storage.source import Source

if TYPE_CHECKING:
    from matinee.cache.counting import Counting

T = TypeVar("T")
_LOOK_AT_LOG_EVERY_S = 5.0
_LOOK_AT_FOLDS_EVERY_S = 60.0  # one small query of the leader
_PUBLISH_EVERY_S = 1.0  # metrics of other workers are read from their files


def setup_django() -> None:
    """Set Django up in this process; safe to call again."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matinee.settings")
    django.setup()


@dataclass
class Runtime:
    """What one process works with."""

    config: Config
    catalogue: Catalogue
    writes: ThreadPoolExecutor
    local: LocalTier[Any] | None = None
    counts: dict[int, int] = field(default_factory=dict)
    popularity: Counts = field(default_factory=NullCounts)
    totals: Totals = field(default_factory=NullTotals)
    publishers: list[Callable[[], None]] = field(default_factory=list)
    _counting: Counting | None = None
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Begin what goes on beside the requests; called on the event loop."""
        from matinee.cache.counting import Counting  # not before the server has said where workers count together

        self._counting = Counting(self.counts, self.popularity)
        work = {"metrics": self._publish_on, "counts": self._counting.run, "folds": self._refold}
        if not self.config.on_postgres:
            work["the write-ahead log"] = self._bound_log
        self._background |= {asyncio.create_task(background.keep_going(name, on)) for name, on in work.items()}

    def publish(self) -> None:
        """Bring the numbers that are counted beside the metrics to the metrics."""
        for publisher in self.publishers:
            publisher()

    async def _publish_on(self) -> None:
        while True:
            await asyncio.sleep(_PUBLISH_EVERY_S)
            self.publish()

    async def _bound_log(self) -> None:
        from matinee.write import upkeep

        while True:
            await asyncio.sleep(_LOOK_AT_LOG_EVERY_S)
            await asyncio.get_running_loop().run_in_executor(self.writes, upkeep.bound_log)

    async def _refold(self) -> None:
        from matinee.write import upkeep

        while True:
            await asyncio.sleep(_LOOK_AT_FOLDS_EVERY_S)
            while await asyncio.get_running_loop().run_in_executor(self.writes, upkeep.refold):
                pass

    async def close(self) -> None:
        """End what goes on in the background, finish the writes that have begun and close the reader."""
        await background.end(self._background)
        if self._counting is not None:
            await self._counting.finish()
        await self.popularity.close()
        if not self.config.on_postgres:
            from matinee.write import upkeep

            with suppress(RuntimeError):  # it was closed before
                self.writes.submit(upkeep.finish)
        self.writes.shutdown(wait=True)
        await self.catalogue.close()


class WriteThread(ThreadPoolExecutor):
    """The thread that writes for a process, one write after another. The time in line counts as time of the write.

    Else who waits behind a write that the leader holds up would wait for the time-outs of both, one after another.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(max_workers=1, thread_name_prefix="matinee-write")
        self._timeout_s = timeout_s

    def submit(self, function: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        """Let a write be done in its turn."""
        at_s = time.monotonic() + self._timeout_s

        def in_time() -> T:
            with due(at_s):
                return function(*args, **named)

        return super().submit(in_time)


def build(config: Config, source: Source | None = None) -> Runtime:
    """Return this process's parts; nothing is opened before the first read. Another source than the settings' may be given."""
    signer = CursorSigner(config.secret_key or "unsigned")
    # One thread: SQLite takes one writer at a time anyway, and waiting in line here costs nobody a connection.
    writes = WriteThread(config.write_timeout_ms / 1000)
    of_settings = reader(config, source)
    shared = shared_tier(config.redis_url, config.memcached_url, config.shared_cache_deadline_ms / 1000)
    popularity = _popularity(config, shared, of_settings, writes)
    catalogue = Catalogue(of_settings, signer, Loads(of_settings, shared, Seals(config.secret_key)), popularity)
    totals = chosen_totals(config.redis_url, shared)
    return Runtime(config, catalogue, writes, _local_tier(config, catalogue), popularity=popularity, totals=totals)


def _popularity(config: Config, shared: SharedTier, of_settings: Reader, writes: ThreadPoolExecutor) -> Counts:
    """Return where all processes together count what movies are asked for."""

    async def write(counted: Counted, at_s: float) -> None:
        from matinee.write import popularity  # which cannot be imported before Django has been set up

        await asyncio.get_running_loop().run_in_executor(writes, popularity.add, counted, at_s)

    async def read(window: Window, limit: int) -> Top:
        return await of_settings.view(ANY).trending(window, limit)

    return chosen_counts(
        is_on=config.popularity,
        redis_url=config.redis_url,
        shared=shared,
        deadline_s=config.shared_cache_deadline_ms / 1000,
        database=DatabaseCounts(write, read),
    )


def _local_tier(config: Config, catalogue: Catalogue) -> LocalTier[Any] | None:
    """Return the tier of this process, None when it is to have no bytes."""
    bound_bytes = config.local_cache_bound_bytes
    if not bound_bytes:
        return None
    return LocalTier(make_policy(config.cache_policy, bound_bytes), catalogue.log, config.list_max_staleness_s)


def reader(config: Config, source: Source | None = None) -> Reader:
    """Return the reader of the engine that the settings name."""
    # What readers count must not be imported before the server has said where several workers count together.
    from matinee.storage.sql_reader import SqlReader

    return SqlReader(source or source_of(config))


def source_of(config: Config) -> Source:
    """Return where the settings say that statements are sent."""
    if not config.on_postgres:
        from matinee.storage.sqlite import SqliteFile

        return SqliteFile(config.database_path, timeout_ms=config.read_timeout_ms, expensive_reads=config.expensive_reads)
    from matinee.storage.copies import Copy
    from matinee.storage.followers import Followers, ReadRules
    from matinee.storage.postgres import Server, ServerOptions

    rules = ReadRules(
        timeout_s=config.read_timeout_ms / 1000,
        hedge_s=config.hedge_ms / 1000,
        max_lag_s=config.max_follower_lag_s,
        min_position_wait_s=config.min_position_wait_ms / 1000,
        leader_reads=config.leader_reads == "when_needed",
        leader_reads_at_once=config.leader_pool_size,
        tail_interval_ms=config.change_tail_interval_ms,
        expensive_reads=config.expensive_reads,
        connections=config.pool_size,
    )
    options = ServerOptions(config.pool_size, config.read_timeout_ms, config.pgbouncer)
    for_leader = replace(options, pool_size=config.leader_pool_size) if config.follower_urls else options
    leader = Copy(Server(config.database_url, for_leader, "leader"), "leader")
    followers = [Copy(Server(url, options, "follower"), "follower") for url in config.follower_urls]
    return Followers(leader, followers, rules)

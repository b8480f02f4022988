"""A shared tier behind a socket: gathers what a tick asks for, sends it over a link, and leaves a server that is ill alone.

Invariants: `get` and `lease` end by the deadline whatever the server does, and at once while it is left alone; nothing raises;
what waits is bounded. Drivers (redis.py, memcached.py) know how one round trip is spoken, nothing else.
Made by shared.py; called by the read path, on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial

import structlog

from matinee.cache import shared_metrics as metrics
from matinee.cache.batch import ReadBatch, WriteQueue
from matinee.cache.breaker import Breaker
from matinee.cache.exchange import Exchange, ask
from matinee.cache.link import Driver, Entry, Found, Lease, Link, LinkFailed, LinkSilent

_LINKS = 2  # at most one of them writes: reads never wait behind values that are on their way out
_WRITE_DEADLINE_S = 1.0  # nobody waits for a write
_REFUSED_PAUSE_S = 1.0  # after a refusal, because the memory is full or the server is a replica
_PROBE_KEY = "probe"  # it is never there; asking for it takes the same rights as any read
_CONNECT_S = 1.0
log = structlog.get_logger("matinee.shared_cache")


class RemoteTier:
    """A shared tier in another process."""

    is_null = False

    def __init__(self, driver: Driver, deadline_s: float) -> None:
        self.name, self._who = driver.name, f"The shared cache {driver.name} at {driver.address}"
        self._driver, self._deadline_s = driver, deadline_s
        self._free = [driver.link() for _ in range(_LINKS)]
        self._prober = driver.link()
        self.breaker = Breaker(driver.name, self._probe, self._drop_all)
        self._reads: ReadBatch | None = None
        self._writes = WriteQueue()
        self._exchanges: set[Exchange[Found] | Exchange[str | None]] = set()
        self._is_scheduled = self._is_writing = False
        self._refusal, self._refused_until_s = "", 0.0

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None; nobody waits for longer than the deadline."""
        if self.breaker.is_open or not self._driver.fits(key):
            metrics.count("get", "skipped")
            return None
        waiter: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._gathering().want(key, waiter)
        return await waiter

    async def lease(self, key: str, ttl_ms: int) -> bool:
        """Return whether the caller is to load the value; yes when nobody can say."""
        if self.breaker.is_open or not self._driver.fits(key) or ttl_ms <= 0:
            metrics.count("lease", "skipped")
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._gathering().want_lease(Lease(key, ttl_ms), waiter)
        return await waiter

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep a value, in the background; it is dropped when too much waits already."""
        is_fit = len(value) <= self._driver.most_value_bytes and ttl_s > 0
        if is_fit and time.monotonic() >= self._refused_until_s:
            self._write("put", key, Entry(value, ttl_s))
        else:
            metrics.count("put", "skipped")

    def delete(self, keys: Iterable[str]) -> None:
        """Forget values, in the background."""
        for key in keys:
            self._write("delete", key, None)

    def trouble(self) -> str | None:
        """Return in a sentence why the tier is not used, or takes no values; None when all is well."""
        if self.breaker.is_open:
            return f"{self._who} is not used: {self.breaker.reason}."
        return f"{self._who} takes no values: {self._refusal}." if self._refusal else None

    async def ping(self) -> str | None:
        """Ask the server over a connection of its own; return what is wrong and what to do, or None."""
        link = self._driver.link()
        outcome = await ask(link.read([_PROBE_KEY], []), _CONNECT_S)
        await ask(link.close(), _CONNECT_S)
        if not isinstance(outcome, LinkFailed):
            return None
        return (
            f"{self._who} cannot be used: {outcome}. "
            f"Start it or mend it, correct {self._driver.setting}, or unset it: it is not needed for a correct answer."
        )

    async def close(self) -> None:
        """Give the connections back; those who wait get nothing."""
        await self.breaker.stop()
        tasks = [exchange.task for exchange in self._exchanges]
        self._drop_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in (*self._free, self._prober):
            await ask(link.close(), _CONNECT_S)

    def _gathering(self) -> ReadBatch:
        """Return the reads of this tick."""
        if self._reads is None:
            self._reads = ReadBatch(asyncio.get_running_loop().time())
        self._schedule()
        return self._reads

    def _write(self, operation: str, key: str, entry: Entry | None) -> None:
        if self.breaker.is_open or not self._driver.fits(key) or not self._writes.add(key, entry):
            metrics.count(operation, "skipped")
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits, as far as links are free; what comes while none is makes the next round trip larger."""
        self._is_scheduled = False
        if self.breaker.is_open:
            return
        if self._writes and self._free and not self._is_writing:
            self._send_writes()
        if self._reads is not None and self._free:
            self._send_reads(self._reads)

    def _send_reads(self, batch: ReadBatch) -> None:
        self._reads = None
        link = self._free.pop()
        over = partial(self._reads_over, batch, time.perf_counter())
        exchange = Exchange(link.read(batch.keys, batch.leases), batch.since_s + self._deadline_s, over)
        self._keep(exchange, link)

    def _reads_over(self, batch: ReadBatch, sent_s: float, outcome: Found | LinkFailed) -> None:
        took_s = time.perf_counter() - sent_s
        wanted, leases = batch.waiting()
        if isinstance(outcome, LinkFailed):
            batch.give_up()
            self._count_failed(outcome, get=wanted, lease=leases)
            # Time that was spent in waiting for a free link is none that the server had.
            self.breaker.failed(str(outcome), is_silent=isinstance(outcome, LinkSilent) and took_s >= self._deadline_s / 2)
            return
        self.breaker.answered()
        hits = batch.answer(outcome)
        metrics.ROUND_TRIP_S.labels("read").observe(took_s)
        metrics.count("get", "hit", hits)
        metrics.count("get", "miss", wanted - hits)
        metrics.count("lease", "done", sum(outcome.leases))
        metrics.count("lease", "held", leases - sum(outcome.leases))

    def _send_writes(self) -> None:
        self._is_writing = True
        writes, link = self._writes.take(), self._free.pop()
        puts = sum(entry is not None for entry in writes.values())
        over = partial(self._writes_over, puts, len(writes) - puts, time.perf_counter())
        due_s = asyncio.get_running_loop().time() + max(_WRITE_DEADLINE_S, self._deadline_s)
        exchange = Exchange(link.write(writes), due_s, over)
        exchange.task.add_done_callback(self._has_written)
        self._keep(exchange, link)

    def _has_written(self, _: object) -> None:
        self._is_writing = False

    def _writes_over(self, puts: int, deletes: int, sent_s: float, outcome: str | LinkFailed | None) -> None:
        if isinstance(outcome, LinkFailed):
            self._count_failed(outcome, put=puts, delete=deletes)
            self.breaker.failed(str(outcome), is_silent=isinstance(outcome, LinkSilent))
            return
        metrics.ROUND_TRIP_S.labels("write").observe(time.perf_counter() - sent_s)
        metrics.count("put", "error" if outcome else "done", puts)
        metrics.count("delete", "done", deletes)
        if outcome is not None:
            self._refused_until_s = time.monotonic() + _REFUSED_PAUSE_S
        if puts and (outcome or "") != self._refusal:
            self._refusal = outcome or ""
            log.warning(
                "shared cache refuses values" if outcome else "shared cache takes values again", tier=self.name, reason=outcome
            )

    def _keep(self, exchange: Exchange[Found] | Exchange[str | None], link: Link) -> None:
        """Hold on to an exchange until its link is free again."""
        self._exchanges.add(exchange)

        def freed(_: object) -> None:
            self._exchanges.discard(exchange)
            self._free.append(link)
            self._flush()

        exchange.task.add_done_callback(freed)

    def _drop_all(self) -> None:
        """End every wait: the server is left alone."""
        for exchange in list(self._exchanges):
            exchange.cut(LinkFailed("it is left alone"))
        reads, self._reads = self._reads, None
        if reads is not None:
            wanted, leases = reads.waiting()
            reads.give_up()
            self._count_failed(LinkFailed(), get=wanted, lease=leases)
        metrics.count("put", "skipped", self._writes.clear())

    def _count_failed(self, failure: LinkFailed, **operations: int) -> None:
        result = "timeout" if isinstance(failure, LinkSilent) else "error"
        for operation, times in operations.items():
            metrics.count(operation, result, times)

    async def _probe(self) -> LinkFailed | None:
        """Return why the server is still not to be used: it must connect, and then answer as quickly as requests want it."""
        for within_s in (_CONNECT_S, self._deadline_s):
            outcome = await ask(self._prober.read([_PROBE_KEY], []), within_s)
            if isinstance(outcome, LinkFailed):
                return outcome
        await ask(self._prober.close(), _CONNECT_S)
        return None

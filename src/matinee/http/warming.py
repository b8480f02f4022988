"""Load the movies that are asked for most before a server says that it is ready: a restart must not fall on the followers.

Started by app.py with the server; asked by health.py. An application in a test or a command is never started, and is ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import structlog

from matinee.cache import counting_metrics as metrics
from matinee.errors import MatineeError
from matinee.http.public_reads import PublicReads
from matinee.read.warming import batches, most_asked_for
from matinee.runtime import Runtime

WITHIN_S = 2.0  # in all; what is not loaded by then is loaded when it is asked for
log = structlog.get_logger("matinee.warming")


class Warming:
    """The warming up of one process; `reason` is why it is not ready yet, None when it is."""

    def __init__(self, runtime: Runtime, reads: PublicReads) -> None:
        self.reason: str | None = None
        self._runtime, self._reads = runtime, reads
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if there is anything to keep and anything to know it from."""
        runtime = self._runtime
        if runtime.local is not None and runtime.config.warm_movies and not runtime.popularity.is_null:
            self.reason = f"The server is warming up: it loads the movies that are asked for most, for {WITHIN_S:g} s at most."
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        began_s, warmed, trouble = time.perf_counter(), 0, ""
        try:
            async with asyncio.timeout(WITHIN_S):
                async for kept in self._loaded():
                    warmed += kept
        except (TimeoutError, MatineeError) as error:
            trouble = str(error) or f"it took longer than {WITHIN_S:g} s"
        finally:
            self.reason = None
        took_s = time.perf_counter() - began_s
        metrics.WARMED.inc(warmed)
        metrics.WARM_UP_S.set(took_s)
        if trouble:
            log.warning("warming up was broken off", reason=trouble)
        if warmed:
            log.info("warmed up", movies=warmed, seconds=round(took_s, 3))

    async def _loaded(self) -> AsyncIterator[int]:
        """Yield how many ready answers each batch has left in the local tier."""
        ids = await most_asked_for(self._runtime.popularity, self._runtime.config.warm_movies)
        if not ids:
            return
        await self._runtime.catalogue.prepare()
        for some in batches(ids):
            yield sum(await asyncio.gather(*(self._reads.load(f"/v1/movies/{movie_id}") for movie_id in some)))

    async def close(self) -> None:
        """Break it off."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

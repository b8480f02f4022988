"""What happens on a miss of the local tier: the shared tier is asked, else a copy, once for all who ask.

Called by catalogue.py for reads that demand nothing of their own. Ids that are asked for in one tick of the event loop are read
in one statement. With a shared tier, one server in all reads what is missing while the others wait for it a moment: a lease.
Invariant: a value of the shared tier is used only when its MAC is valid and the log says that it is unchanged (sealed.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from matinee.cache.sealed import Seals, movie_content, movie_of, rows_content, rows_of
from matinee.cache.shared import SharedTier
from matinee.cache.single_flight import SingleFlight
from matinee.domain.change_log import MOST_CHANGES
from matinee.domain.freshness import AsOf, Demand
from matinee.domain.query import ListQuery, SearchQuery
from matinee.domain.representation import Representation, Tombstone
from matinee.errors import FuturePosition, NoReaderAvailable
from matinee.storage.reader import CardRows, Reader

_KEPT_S = 24 * 3600  # in the shared tier; nothing is believed for its age, this only clears away what nobody asks for
_LEASE_MS = 1_000
_WAITS_S = (0.01, 0.02, 0.04, 0.08)  # for who has the lease; then everybody reads for himself
_SENT_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # until what is shared in the background has been sent
_HISTORY_ROWS = 2_000  # of the log in one statement: the loop is not to stand still for longer than a few milliseconds

Found = Representation | Tombstone | None
T = TypeVar("T")


class Loaded(NamedTuple):
    """A movie, the position at which it was read, and what that reflects."""

    found: Found
    stamp: int
    as_of: AsOf


class LoadedRows(NamedTuple):
    """A page of cards, the position at which it was read, and what that reflects."""

    rows: CardRows
    stamp: int | None
    as_of: AsOf | None


class Loads:
    """Reads of one process that everybody shares."""

    def __init__(self, reader: Reader, shared: SharedTier, seals: Seals) -> None:
        self._reader, self._shared, self._seals = reader, shared, seals
        self._movies: SingleFlight[Loaded] = SingleFlight()
        self._pages: SingleFlight[LoadedRows] = SingleFlight()
        self._waiting: dict[int, asyncio.Future[Loaded]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._history_of = 0  # which of the log's histories has been read backwards

    async def movie(self, movie_id: int) -> Loaded:
        """Return a movie from the shared tier, else from a copy. Cost: 1 round trip, or 2 and a statement for all of a tick."""
        if self._shared.is_null:
            return await self._read_soon(movie_id)
        return await self._movies.do(movie_id, lambda: self._movie(movie_id))

    async def page(
        self, query: ListQuery | SearchQuery, read: Callable[[Reader], Awaitable[CardRows]], client: str = ""
    ) -> LoadedRows:
        """Return a page of cards from the shared tier, else what `read` reads from a copy on behalf of a client."""
        if self._shared.is_null:
            return await self._read_page(read)
        # All of the query and 128 bits: two queries that share a key would be answered with each other's page.
        key = "p:" + hashlib.blake2b(repr(query).encode(), digest_size=16).hexdigest()
        return await self._pages.do_for(client, key, lambda: self._page(key, read))

    async def _movie(self, movie_id: int) -> Loaded:
        key = f"m:{movie_id}"

        async def ask() -> Loaded | None:
            opened = self._open(key, await self._shared.get(key))
            known = self._reader.known()  # it brings the log up to date
            if opened is None or known is None or not self._reader.log.believes(movie_id, opened[0]):
                return None
            found = movie_of(opened[1])
            return None if found is None else Loaded(found, opened[0], known)

        async def load() -> Loaded:
            histories = self._reader.log.histories
            loaded = await self._read_soon(movie_id)
            if isinstance(loaded.found, Representation) and self._reader.log.believes(movie_id, loaded.stamp):
                self._share(key, loaded.stamp, histories, movie_content(loaded.found))
            return loaded

        return await self._shared_or_loaded(key, ask, load)

    async def _page(self, key: str, read: Callable[[Reader], Awaitable[CardRows]]) -> LoadedRows:
        async def ask() -> LoadedRows | None:
            opened = self._open(key, await self._shared.get(key))
            known = self._reader.known()
            if opened is None or known is None or not self._reader.log.is_newest(opened[0]):
                return None
            parts = rows_of(opened[1])
            if parts is None:
                return None
            cards, after, updated_at_s = parts
            return LoadedRows(CardRows(cards, tuple(after) if after is not None else None, updated_at_s), opened[0], known)

        async def load() -> LoadedRows:
            histories = self._reader.log.histories
            loaded = await self._read_page(read)
            if loaded.stamp is not None and self._reader.log.is_newest(loaded.stamp):
                self._share(key, loaded.stamp, histories, rows_content(*loaded.rows))
            return loaded

        return await self._shared_or_loaded(key, ask, load)

    def _open(self, key: str, value: bytes | None) -> tuple[int, bytes] | None:
        if self._history_of != self._reader.log.histories:
            self._history_of = self._reader.log.histories
            self._begin(self._read_history())
        return None if value is None else self._seals.unseal(self._reader.log, key, value)

    async def _shared_or_loaded(self, key: str, ask: Callable[[], Awaitable[T | None]], load: Callable[[], Awaitable[T]]) -> T:
        """Return what the shared tier holds, or gets from who has the lease; load it here when nobody else does in time."""
        found = await ask()
        if found is not None:
            return found
        # A lease for each position: whoever wants the value after the next change is not to wait for a holder who has finished.
        # It is not given back: one who has just missed the value would get it, and load the value a second time.
        if await self._shared.lease(f"l:{key}:{self._reader.log.position}", _LEASE_MS):
            return await load()
        for wait_s in _WAITS_S:
            await asyncio.sleep(wait_s)
            found = await ask()
            if found is not None:
                return found
        return await load()

    def _share(self, key: str, stamp: int, histories: int, content: bytes) -> None:
        """Share what was read at a position, unless the log has begun anew since: that position may be another one there."""
        value = self._seals.seal(self._reader.log, key, stamp, content)
        if value is not None and histories == self._reader.log.histories:
            self._shared.put(key, value, _KEPT_S)

    async def _read_page(self, read: Callable[[Reader], Awaitable[CardRows]]) -> LoadedRows:
        view = self._view()
        rows = await read(view)
        return LoadedRows(rows, view.stamp, view.as_of)

    def _view(self) -> Reader:
        """Return the reader for what may be kept: of a copy that holds all changes that are known, if there is one."""
        return self._reader.view(Demand(preferred_position=self._reader.log.position))

    async def _read_soon(self, movie_id: int) -> Loaded:
        """Return a movie that is read with all that are asked for in this tick. Whoever goes away harms nobody else."""
        future = self._waiting.get(movie_id)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(lambda: self._begin(self._read_waiting()))
            future = self._waiting[movie_id] = loop.create_future()
        return await asyncio.shield(future)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        view = self._view()
        try:
            found: dict[int, Found] = {}
            if len(waiting) == 1:
                (movie_id,) = waiting
                found[movie_id] = await view.movie(movie_id)
            else:
                found.update(await view.movies(list(waiting)))
        except BaseException as error:
            for future in waiting.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # nobody may wait any longer; then it is nobody's fault
            if not isinstance(error, Exception):
                raise
            return
        assert view.stamp is not None, "a statement was sent"
        assert view.as_of is not None, "a statement was sent"
        for movie_id, future in waiting.items():
            if not future.done():
                future.set_result(Loaded(found.get(movie_id), view.stamp, view.as_of))

    async def read_history(self) -> None:
        """Have the log read backwards before anything is asked for, so that all that others have shared is used."""
        if not self._shared.is_null and self._history_of != self._reader.log.histories:
            self._history_of = self._reader.log.histories
            await self._read_history()

    async def share(self, ids: Sequence[int]) -> int:
        """Have movies loaded into the shared tier; return how many it holds then. It is waited for, a second at most."""
        if self._shared.is_null:
            return 0
        loaded = await asyncio.gather(*(self.movie(movie_id) for movie_id in ids))
        live = [found.id for found, *_ in loaded if isinstance(found, Representation)]
        held = await self._held(live)
        for wait_s in _SENT_WAITS_S:
            if held == len(live):
                break
            await asyncio.sleep(wait_s)
            held = await self._held(live)
        return held

    async def _held(self, ids: Sequence[int]) -> int:
        """Return how many of these movies the shared tier holds as they are now. Cost: 1 round trip."""
        keys = [f"m:{movie_id}" for movie_id in ids]
        values = await asyncio.gather(*map(self._shared.get, keys))
        opened = [(movie_id, self._open(key, value)) for movie_id, key, value in zip(ids, keys, values, strict=True)]
        return sum(found is not None and self._reader.log.believes(movie_id, found[0]) for movie_id, found in opened)

    async def _read_history(self) -> None:
        """Read the log backwards, so that what other servers have shared before this one began can be judged.

        Without it, values from before are not believed, which costs time and nothing else.
        """
        log, rows = self._reader.log, 0
        histories = log.histories
        while rows < MOST_CHANGES and log.histories == histories and log.oldest > 1:
            # A copy that has not replayed the oldest row that is known would leave a gap before it.
            whole = Demand(min_position=log.oldest)
            try:
                older = await self._reader.view(whole).log_before(log.oldest, _HISTORY_ROWS)
            except (FuturePosition, NoReaderAvailable):
                return
            if not older or log.histories != histories:
                return
            log.prepend(older)
            rows += len(older)

    async def close(self) -> None:
        """End what goes on in the background, and leave the shared tier."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._shared.close()

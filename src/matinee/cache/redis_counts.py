"""Popularity in Redis: a sorted set for each window and one of times, and two scripts. Made by popularity.py.

It shares the shared tier's health: while that server is left alone nothing is sent here, and a silence that is met here opens
the same breaker, whose probe takes the server back. It has connections of its own: no read of a movie waits behind a list.
What was handed over in vain is lost; nobody needs it for a correct answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from matinee.cache.breaker import Breaker
from matinee.cache.exchange import ask
from matinee.cache.link import LinkFailed, LinkSilent
from matinee.cache.popularity import Top, worths
from matinee.cache.redis import PREFIX, RedisLink
from matinee.cache.remote import RemoteTier
from matinee.cache.shared import SharedTier
from matinee.cache.single_flight import SingleFlight
from matinee.domain.ids import MAX_ID
from matinee.domain.popularity import FUTURE_S, HALF_LIVES_S, MOST_BITS, RESET_BITS, WINDOWS, Window

_AT = f"{PREFIX.decode()}popular:at"  # when each movie was last counted
MOST_MEMBERS = 100_000  # of each window: 10 MB
_ID_DIGITS = len(str(MAX_ID))
_MOVIES_A_CALL = 100  # Redis does nothing else meanwhile: about a millisecond
_KEPT_S = 30 * 24 * 3600  # after the last count: this only clears away what nobody uses any more
_ADD_DEADLINE_S = 1.0  # nobody waits for it
_LONG_LIST = 1_000  # movies; a longer list is read by who warms up, and may take its time
_LONG_DEADLINE_S = 1.0
# Joins and mends scores as domain/popularity.py does, by Redis's own clock. It removes the least ones as often as it adds some,
# and never many at once: clearing away a hundred thousand would delay all requests by a twentieth of a second.
_ADD = """
local most, kept_s, movies, at = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local half_lives = {tonumber(ARGV[5]), tonumber(ARGV[6])}
local most_bits, reset_bits, future_s = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
at = math.min(at, now)
local ids = {unpack(ARGV, 10, 9 + movies)}
local seen, times = redis.call('ZMSCORE', KEYS[3], unpack(ids)), {}
for window = 1, 2 do
    local key, half_life = KEYS[window], half_lives[window]
    local before, members = redis.call('ZMSCORE', key, unpack(ids)), {}
    for place, id in ipairs(ids) do
        local sum = at / half_life + math.log(tonumber(ARGV[9 + movies + place])) / math.log(2)
        local old, old_at = before[place] and tonumber(before[place]), seen[place] and tonumber(seen[place]) or 0
        if old then
            if old_at > now + future_s then
                old = old - (old_at - now) / half_life
            end
            if not (old <= now / half_life + most_bits) then
                old = now / half_life + reset_bits
            end
            sum = math.max(sum, old) + math.log(1 + 2 ^ -math.min(math.abs(sum - old), 60)) / math.log(2)
        end
        members[2 * place - 1], members[2 * place] = sum, id
        times[2 * place - 1], times[2 * place] = old_at > now + future_s and at or math.max(old_at, at), id
    end
    redis.call('ZADD', key, unpack(members))
end
redis.call('ZADD', KEYS[3], unpack(times))
for _, key in ipairs(KEYS) do
    local excess = redis.call('ZCARD', key) - most
    if excess > 0 then
        redis.call('ZREMRANGEBYRANK', key, 0, math.min(excess, 2 * movies) - 1)
    end
    redis.call('EXPIRE', key, kept_s)
end
"""
# It only reads, so a replica and a full server answer it. Members of the future are left out until they are counted again.
_TOP = """
local clock = redis.call('TIME')
local future, is_future = redis.call('ZREVRANGEBYSCORE', KEYS[2], '+inf', clock[1] + tonumber(ARGV[3]), 'LIMIT', 0, 1000), {}
for _, id in ipairs(future) do is_future[id] = true end
local most = clock[1] / tonumber(ARGV[2]) + tonumber(ARGV[4])
local wanted = tonumber(ARGV[1])
local found = redis.call(
    'ZREVRANGEBYSCORE', KEYS[1], string.format('%.17g', most), '-inf', 'WITHSCORES', 'LIMIT', 0, wanted + #future)
local kept = {}
for place = 1, #found, 2 do
    if not is_future[found[place]] and #kept < 2 * wanted then
        kept[#kept + 1], kept[#kept + 2] = found[place], found[place + 1]
    end
end
return kept
"""


class _Line:
    """One connection for several who ask: it has one question on its way at a time, one that was given up included."""

    def __init__(self, link: RedisLink) -> None:
        self._link, self._is_free = link, asyncio.Lock()

    async def ask(self, *words: str) -> Any:
        """Return the answer to a command. Raises: LinkFailed."""
        async with self._is_free:
            return await self._link.ask(*words)

    async def close(self) -> None:
        """Drop the connection."""
        await self._link.close()


class RedisCounts:
    """The counts of all processes, in Redis."""

    name, is_null = "redis", False
    most_movies = 2_000

    def __init__(
        self,
        link: Callable[[], RedisLink],
        breaker: Breaker,
        deadline_s: float,
        clock: Callable[[], float] = time.time,
        most_members: int = MOST_MEMBERS,
    ) -> None:
        """`deadline_s` is how long a request may wait for a list."""
        self._breaker, self._deadline_s, self._clock, self._most_members = breaker, deadline_s, clock, most_members
        self._adding, self._asking = _Line(link()), _Line(link())
        self._flights: SingleFlight[Top] = SingleFlight()
        self._last: dict[Window, Top] = {}

    async def add(self, counted: Mapping[int, int], now_s: float) -> str | None:
        """Add counts to the scores, a hundred movies a call."""
        counts = iter(counted.items())
        while some := list(islice(counts, _MOVIES_A_CALL)):
            if self._breaker.is_open:
                return self._breaker.reason
            outcome = await ask(self._adding.ask(*self._call(some, now_s)), _ADD_DEADLINE_S)
            if isinstance(outcome, LinkFailed):
                self._note(outcome)
                return str(outcome)
        return None

    def _call(self, counted: list[tuple[int, int]], now_s: float) -> Iterator[str]:
        yield from ("EVAL", _ADD, "3", *map(_key, WINDOWS), _AT)
        yield from (str(self._most_members), str(_KEPT_S), str(len(counted)), repr(now_s))
        yield from (str(HALF_LIVES_S[window]) for window in WINDOWS)
        yield from (str(MOST_BITS), str(RESET_BITS), str(FUTURE_S))
        yield from (str(movie_id) for movie_id, _ in counted)
        yield from (str(count) for _, count in counted)

    async def top(self, window: Window, limit: int) -> Top:
        """Return the movies with the largest scores; while Redis is away, those of the last list that it gave."""
        if self._breaker.is_open:
            return self._last.get(window, [])[:limit]
        return await self._flights.do((window, limit), lambda: self._top(window, limit))

    async def _top(self, window: Window, limit: int) -> Top:
        outcome = await ask(self._range(window, limit), self._deadline_s if limit <= _LONG_LIST else _LONG_DEADLINE_S)
        if isinstance(outcome, LinkFailed):
            self._note(outcome)
            return self._last.get(window, [])[:limit]
        found = worths(outcome, self._clock(), window)
        if limit <= _LONG_LIST:
            self._last[window] = found
        return found

    async def _range(self, window: Window, limit: int) -> list[tuple[int, float]]:
        limits = (str(HALF_LIVES_S[window]), str(FUTURE_S), str(MOST_BITS))
        flat = await self._asking.ask("EVAL", _TOP, "2", _key(window), _AT, str(limit), *limits)
        found = zip(*[iter(flat)] * 2, strict=True)
        # Members cannot carry a MAC. One that is no id was planted, and must not hide the others.
        known = [(int(member), float(of_score)) for member, of_score in found if member.isdigit() and len(member) <= _ID_DIGITS]
        return [(movie_id, of_score) for movie_id, of_score in known if 0 < movie_id <= MAX_ID]

    def _note(self, failure: LinkFailed) -> None:
        """Tell the tier's breaker of a silence; a refusal or a lost connection says nothing of how reads are answered."""
        if isinstance(failure, LinkSilent):
            self._breaker.failed(str(failure), is_silent=True)

    async def close(self) -> None:
        """Drop the connections."""
        for link in (self._adding, self._asking):
            await ask(link.close(), _ADD_DEADLINE_S)


def redis_counts(url: str, shared: SharedTier, deadline_s: float, **options: Any) -> RedisCounts:
    """Return the counts in the Redis that is the shared tier too."""
    assert isinstance(shared, RemoteTier), "a tier in Redis is remote"
    return RedisCounts(lambda: RedisLink(url), shared.breaker, deadline_s, **options)


def _key(window: Window) -> str:
    return f"{PREFIX.decode()}popular:{window}"

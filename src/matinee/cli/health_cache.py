"""What `doctor` says of the caches: whether there is memory for the local ones, and whether the shared one answers.

Called by health.py; for a shared cache when one is set. Of Redis it also says whether its memory is set up for a cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from matinee.cache.shared import shared_tier
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.machine import memory_limit

T = TypeVar("T")
_FACTS_S = 2.0
_MOST_LOCAL_SHARE = 0.8  # of the memory; the processes themselves, and the pages of a file that are in memory, need the rest
_BEST_POLICY = "allkeys-lfu"
_BEST_DECAY_MINUTES = 10
_ADVICE = f"set maxmemory-policy {_BEST_POLICY} and lfu-decay-time {_BEST_DECAY_MINUTES}"


def memory() -> str:
    """Return the memory that this machine or container may use, and which file limits it."""
    limit = memory_limit()
    return f"{_mib(limit.limit_bytes)}, limited by {limit.source}"


def local(config: Config) -> str:
    """Return what the processes of this server may keep, all together. Raises: OperatorError when there is no memory for it."""
    bound_bytes, has_bytes = config.local_cache_bound_bytes, memory_limit().limit_bytes
    if not bound_bytes:
        return "no local cache: MATINEE_LOCAL_CACHE_BYTES is 0"
    of_all_bytes = bound_bytes * config.workers
    processes = f"{config.workers} process{'es' if config.workers > 1 else ''}"
    told = (
        f"{config.cache_policy}, {_mib(bound_bytes)} for each of {processes}: {_mib(of_all_bytes)} of {_mib(has_bytes)} memory"
    )
    if of_all_bytes > _MOST_LOCAL_SHARE * has_bytes:
        raise OperatorError(f"{told}; lower MATINEE_LOCAL_CACHE_BYTES or WEB_CONCURRENCY.")
    return told


def redis(config: Config) -> str:
    """Return what Redis says of itself, with advice. Raises: OperatorError when it cannot be used."""
    from matinee.cache import redis as driver

    found = _asked(config, lambda: driver.facts(config.redis_url))
    if found.is_cluster:
        raise OperatorError(
            "REDIS_URL leads to a Redis Cluster, which parts the keys of one question; give it a single server."
        )
    if found.most_bytes and found.policy == "noeviction":
        raise OperatorError(f"Redis refuses values when its {_mib(found.most_bytes)} are full (noeviction); {_ADVICE}.")
    limit = _mib(found.most_bytes) if found.most_bytes else "no limit"
    told = f"Redis {found.version}, {_mib(found.used_bytes)} of {limit} used, {found.policy}"
    return f"{told}; {advice}" if (advice := _advice(found)) else told


def _advice(found: Any) -> str:
    if not found.most_bytes:
        return f"it grows until the machine's memory is full: set maxmemory, and {_ADVICE}"
    if found.policy != _BEST_POLICY:
        return f"more would be found: {_ADVICE}"
    if found.lfu_decay_minutes not in (None, _BEST_DECAY_MINUTES):
        return f"lfu-decay-time is {found.lfu_decay_minutes}; with {_BEST_DECAY_MINUTES} more would be found"
    return ""


def memcached(config: Config) -> str:
    """Return what memcached says of itself. Raises: OperatorError when it cannot be used."""
    from matinee.cache import memcached as driver

    found = _asked(config, lambda: driver.facts(config.memcached_url))
    used, limit = _mib(int(found.get("bytes", 0))), _mib(int(found.get("limit_maxbytes", 0)))
    return f"memcached {found.get('version', '?')}, {used} of {limit} used"


def _asked(config: Config, facts: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return a server's facts, after it has answered as it would for a read. Raises: OperatorError."""
    return asyncio.run(_ask(config, facts))


async def _ask(config: Config, facts: Callable[[], Coroutine[Any, Any, T]]) -> T:
    from matinee.cache.exchange import ask
    from matinee.cache.link import LinkFailed

    tier = shared_tier(config.redis_url, config.memcached_url, config.shared_cache_deadline_ms / 1000)
    reason = await tier.ping()
    await tier.close()
    if reason is not None:
        raise OperatorError(reason)
    outcome = await ask(facts(), _FACTS_S)
    if isinstance(outcome, LinkFailed):
        raise OperatorError(f"{tier.name} answers a read, but does not say how it is: {outcome}.")
    return outcome


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"

"""Replay a trace against policies of several sizes, and against the best that could be had. Deterministic.

Called by the command line. Every entry has the size 1, a cache holds so many entries, and a miss is put at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from matinee.cache import opt
from matinee.cache.policy import Policy, make_counting_policy

OPT = "OPT"
_CHUNK = 100_000  # requests between two reports of how far it is


@dataclass(frozen=True)
class Result:
    """The hit ratio of one policy at one size."""

    policy: str
    entries: int
    hit_ratio: float


def simulate(
    ids: Sequence[Hashable],
    sizes: Sequence[int],
    policies: Sequence[str],
    *,
    warm_up: int = 0,
    watch: Callable[[int], object] | None = None,
) -> list[Result]:
    """Return the hit ratio of each policy, and of OPT last, at each size; the first `warm_up` requests only fill the caches.

    `watch` is told now and then how many requests more have been replayed, `work` in all.
    """
    numbers: dict[Hashable, int] = {}
    keys = [numbers.setdefault(key, len(numbers)) for key in ids]  # so that no hash of a text, salted, decides anything
    told = watch or (lambda _: None)
    counted = len(keys) - warm_up
    results = []
    for name in policies:
        for entries in sizes:
            hits = replay(make_counting_policy(name, entries), keys, warm_up, told)
            results.append(Result(name, entries, hits / counted))
    following = opt.next_requests(keys)
    for entries in sizes:
        results.append(Result(OPT, entries, opt.count_hits(following, entries, warm_up) / counted))
        told(len(keys))
    return results


def work(requests: int, sizes: int, policies: int) -> int:
    """Return how many requests a simulation replays."""
    return requests * sizes * (policies + 1)


def replay(policy: Policy, keys: Sequence[Hashable], warm_up: int, watch: Callable[[int], object]) -> int:
    """Return how many requests after the first `warm_up` were hits."""
    hits = 0
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        cold = min(max(0, warm_up - start), len(part))
        _count_hits(policy, part[:cold])
        hits += _count_hits(policy, part[cold:])
        watch(len(part))
    return hits


def _count_hits(policy: Policy, keys: Sequence[Hashable]) -> int:
    get, put = policy.get, policy.put
    misses = 0
    for key in keys:
        if get(key) is None:
            put(key, True, 1)
            misses += 1
    return len(keys) - misses

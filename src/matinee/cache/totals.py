"""Totals that all processes count together, such as the requests of a client in ten seconds: the null one, and one in Redis.

Called by http/limit_sharing.py. It shares the shared tier's health: while that server is left alone, nothing is sent here.
Invariants: nothing here raises, no request waits for it, and each total disappears by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from matinee.cache.link import LinkFailed, LinkSilent
from matinee.cache.shared import SharedTier

if TYPE_CHECKING:
    from matinee.cache.breaker import Breaker
    from matinee.cache.redis import RedisLink

_DEADLINE_S = 1.0  # no request waits for it
Amounts = Sequence[tuple[str, int, int]]  # name, what is added, and the seconds after which the total is forgotten


class Totals(Protocol):
    """Totals by name."""

    is_null: bool  # nothing is counted together

    async def add(self, amounts: Amounts) -> list[int] | None:
        """Add to totals and return what they are then; None while they cannot be reached."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class NullTotals:
    """Nothing is counted together: there is no Redis."""

    is_null = True

    async def add(self, amounts: Amounts) -> list[int] | None:  # noqa: ARG002 - it keeps nothing
        """Return nothing."""
        return None

    async def close(self) -> None:
        """End nothing."""


class RedisTotals:
    """Totals in Redis, one round trip for all of a flush."""

    is_null = False

    def __init__(self, link: RedisLink, breaker: Breaker) -> None:
        self._link, self._breaker = link, breaker

    async def add(self, amounts: Amounts) -> list[int] | None:
        """Add to totals and return what they are then; None while Redis is away, or refuses."""
        from matinee.cache.exchange import ask

        if self._breaker.is_open:
            return None
        outcome = await ask(self._link.add(amounts), _DEADLINE_S)
        if isinstance(outcome, LinkSilent):
            self._breaker.failed(str(outcome), is_silent=True)
        return None if isinstance(outcome, LinkFailed) else outcome

    async def close(self) -> None:
        """Drop the connection."""
        await asyncio.wait({asyncio.ensure_future(self._link.close())}, timeout=_DEADLINE_S)


def chosen_totals(redis_url: str, shared: SharedTier) -> Totals:
    """Return where totals are counted: in the shared tier's Redis, else nowhere."""
    if not redis_url:
        return NullTotals()
    # Only with Redis, and not before the server has said where its workers count together.
    from matinee.cache.redis import RedisLink
    from matinee.cache.remote import RemoteTier

    assert isinstance(shared, RemoteTier), "a tier in Redis is remote"
    return RedisTotals(RedisLink(redis_url), shared.breaker)

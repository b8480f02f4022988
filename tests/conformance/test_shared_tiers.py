"""Every shared tier keeps its promises: Redis, memcached, the one in memory and the one that holds nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from matinee.cache.shared import MemoryTier, NullTier, SharedTier, shared_tier
from tests.shared_tiers import SERVERS, TierServer, comes, played, running

pytestmark = pytest.mark.sqlite_only("a shared tier does not touch the catalogue")
DEADLINE_S = 5.0  # on a busy machine an answer may take its time; how long nobody waits is for test_shared_faults.py to say
KINDS = ("redis", "memcached", "memory", "none")
HOLDING = ("redis", "memcached", "memory")
REMOTE = ("redis", "memcached")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TierServer]]:
    """Return a server of each kind."""
    folder = tmp_path_factory.mktemp("tiers")
    with ExitStack() as stack:
        yield {name: stack.enter_context(running(kind, folder)) for name, kind in SERVERS.items()}


@pytest.fixture
def emptied(servers: dict[str, TierServer]) -> dict[str, TierServer]:
    """Return the same servers, empty."""
    for server in servers.values():
        server.flush()
    return servers


def tier_of(kind: str, servers: dict[str, TierServer]) -> SharedTier:
    if kind in REMOTE:
        return shared_tier(*(servers[kind].url if name == kind else "" for name in REMOTE), deadline_s=DEADLINE_S)
    return MemoryTier() if kind == "memory" else NullTier()


async def got(tier: SharedTier, key: str, expected: bytes | None) -> bytes | None:
    """Return the value as soon as it is as expected: writes are sent in the background."""
    return await comes(lambda: tier.get(key), lambda value: value == expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tier_says_what_it_is(kind: str, servers: dict[str, TierServer]) -> None:
    tier = tier_of(kind, servers)

    assert (tier.name, tier.is_null, tier.trouble()) == (kind, kind == "none", None)
    assert played(tier, lambda tier: tier.ping()) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_put_is_not_there(kind: str, emptied: dict[str, TierServer]) -> None:
    assert played(tier_of(kind, emptied), lambda tier: tier.get("nothing")) is None


VALUES = {
    "empty": b"",
    "text": "Näkymätön".encode(),
    "lines": b"\r\nEND\r\nVALUE matinee:x 0 1\r\n$-1\r\n",
    "every byte": bytes(range(256)),
    "large": b"x" * 900_000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("kind", HOLDING)
def test_a_value_comes_back_byte_by_byte(kind: str, value: bytes, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> bytes | None:
        tier.put("movie:1", value, 60)
        return await got(tier, "movie:1", value)

    assert played(tier_of(kind, emptied), scenario) == value


def test_the_null_tier_holds_nothing() -> None:
    async def scenario(tier: SharedTier) -> bytes | None:
        tier.put("movie:1", b"value", 60)
        tier.delete(["movie:1"])
        return await tier.get("movie:1")

    assert played(NullTier(), scenario) is None


@pytest.mark.parametrize("kind", HOLDING)
def test_the_last_value_that_was_put_is_the_one_that_is_found(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bytes | None]:
        tier.put("movie:1", b"first", 60)
        tier.put("movie:1", b"second", 60)
        seen = [await got(tier, "movie:1", b"second")]
        tier.put("movie:1", b"third", 60)
        return [*seen, await got(tier, "movie:1", b"third")]

    assert played(tier_of(kind, emptied), scenario) == [b"second", b"third"]


@pytest.mark.parametrize("kind", HOLDING)
def test_what_is_deleted_is_gone_and_the_rest_stays(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bytes | None]:
        for number in range(3):
            tier.put(f"movie:{number}", b"value", 60)
        before = [await got(tier, f"movie:{number}", b"value") for number in range(3)]
        tier.delete(f"movie:{number}" for number in (0, 2, 7))
        return [*before, await got(tier, "movie:2", None), await tier.get("movie:0"), await tier.get("movie:1")]

    assert played(tier_of(kind, emptied), scenario) == [b"value"] * 3 + [None, None, b"value"]


@pytest.mark.parametrize("kind", HOLDING)
def test_a_put_and_a_delete_of_one_tick_take_effect_in_their_order(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bytes | None]:
        tier.put("gone", b"value", 60)
        tier.delete(["gone", "kept"])
        tier.put("kept", b"value", 60)
        return [await got(tier, "kept", b"value"), await tier.get("gone")]

    assert played(tier_of(kind, emptied), scenario) == [b"value", None]


@pytest.mark.parametrize("kind", HOLDING)
def test_a_value_expires(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bytes | None]:
        tier.put("movie:1", b"value", 1)
        return [await got(tier, "movie:1", b"value"), *[await got(tier, "movie:1", None) for _ in range(2)]]

    assert played(tier_of(kind, emptied), scenario) == [b"value", None, None]


@pytest.mark.parametrize("kind", HOLDING)
def test_one_of_all_who_ask_gets_the_lease(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bool]:
        at_once = await asyncio.gather(*(tier.lease("lease:movie:1", 60_000) for _ in range(5)))
        return [*at_once, await tier.lease("lease:movie:1", 60_000), await tier.lease("lease:movie:2", 60_000)]

    assert played(tier_of(kind, emptied), scenario) == [True, False, False, False, False, False, True]


@pytest.mark.parametrize("kind", HOLDING)
def test_a_lease_that_is_given_back_or_has_ended_is_given_again(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bool]:
        first = [await tier.lease("returned", 60_000), await tier.lease("ended", 1_000)]
        tier.delete(["returned"])
        while not await tier.lease("returned", 60_000):
            await asyncio.sleep(0.01)
        while not await tier.lease("ended", 60_000):
            await asyncio.sleep(0.05)
        return first

    assert played(tier_of(kind, emptied), lambda tier: asyncio.wait_for(scenario(tier), 10)) == [True, True]


def test_without_a_tier_everybody_loads_for_himself() -> None:
    async def scenario(tier: SharedTier) -> list[bool]:
        return [await tier.lease("lease:movie:1", 60_000) for _ in range(2)]

    assert played(NullTier(), scenario) == [True, True]


@pytest.mark.parametrize("kind", REMOTE)
def test_two_processes_see_the_same(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(one: SharedTier) -> list[Any]:
        other = tier_of(kind, emptied)
        one.put("movie:1", b"value", 60)
        seen = await got(other, "movie:1", b"value")
        leases = [await one.lease("lease", 60_000), await other.lease("lease", 60_000)]
        await other.close()
        return [seen, *leases]

    assert played(tier_of(kind, emptied), scenario) == [b"value", True, False]


def test_the_gets_of_one_tick_are_one_question(emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bytes | None]:
        for number in range(100):
            tier.put(f"movie:{number}", b"%d" % number, 60)
        await got(tier, "movie:99", b"99")
        before = emptied["redis"].questions()
        found = await asyncio.gather(*(tier.get(f"movie:{number}") for number in range(101)))
        assert emptied["redis"].questions() == before + 1
        return found

    assert played(tier_of("redis", emptied), scenario) == [*(b"%d" % number for number in range(100)), None]


def test_those_who_ask_for_one_key_share_its_place(emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[bytes | None]:
        tier.put("movie:1", b"value", 60)
        await got(tier, "movie:1", b"value")
        before = emptied["memcached"].questions()
        found = await asyncio.gather(*(tier.get(key) for key in ["movie:1"] * 20 + ["movie:2"] * 20))
        assert emptied["memcached"].questions() == before + 2  # memcached counts keys, not round trips
        return found

    assert played(tier_of("memcached", emptied), scenario) == [b"value"] * 20 + [None] * 20


@pytest.mark.parametrize("kind", REMOTE)
def test_a_waiter_that_is_cancelled_harms_nobody(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[Any]:
        tier.put("movie:1", b"value", 60)
        await got(tier, "movie:1", b"value")
        tasks = [asyncio.create_task(tier.get(key)) for key in ("movie:1", "movie:1", "movie:1", "movie:2")]
        leases = [asyncio.create_task(tier.lease("lease", 60_000)) for _ in range(2)]
        await asyncio.sleep(0)  # they wait now
        for cancelled in (tasks[1], leases[0]):
            cancelled.cancel()
        ended = await asyncio.gather(*tasks, leases[1], return_exceptions=True)
        return [type(item) if isinstance(item, BaseException) else item for item in ended] + [await tier.get("movie:1")]

    seen = played(tier_of(kind, emptied), scenario)

    assert seen == [b"value", asyncio.CancelledError, b"value", None, False, b"value"]


@pytest.mark.parametrize("kind", REMOTE)
def test_a_thousand_keys_are_asked_for_and_put_at_once(kind: str, emptied: dict[str, TierServer]) -> None:
    keys = [f"movie:{number:0>60}" for number in range(1_000)]

    async def scenario(tier: SharedTier) -> bool:
        for key in keys:
            tier.put(key, key.encode(), 60)
        await got(tier, keys[-1], keys[-1].encode())
        return await asyncio.gather(*map(tier.get, keys)) == [key.encode() for key in keys]

    assert played(tier_of(kind, emptied), scenario)


UNFIT = {"blanks": "a b", "a line": "a\r\nflush_all", "too long": "x" * 250, "not text": "\ud800", "nothing": ""}


@pytest.mark.parametrize("key", UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize("kind", KINDS)
def test_no_key_is_too_strange_to_be_asked_for(kind: str, key: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[Any]:
        tier.put("fit", b"value", 60)
        tier.put(key, b"strange", 60)
        tier.delete([key])
        kept = await got(tier, "fit", None if tier.is_null else b"value")
        return [kept, await tier.get(key), await tier.lease(key, 60_000), tier.trouble()]

    assert played(tier_of(kind, emptied), scenario) == [None if kind == "none" else b"value", None, True, None]


@pytest.mark.parametrize("ttl_s", [0, -1, 10**9])
@pytest.mark.parametrize("kind", KINDS)
def test_no_time_is_too_strange_to_be_put_for(kind: str, ttl_s: int, emptied: dict[str, TierServer]) -> None:
    expected = None if kind == "none" or ttl_s <= 0 else b"value"

    async def scenario(tier: SharedTier) -> list[Any]:
        tier.put("movie:1", b"value", ttl_s)
        return [await got(tier, "movie:1", expected), await tier.lease("lease", 0), tier.trouble()]

    assert played(tier_of(kind, emptied), scenario) == [expected, True, None]


@pytest.mark.parametrize(("kind", "size_bytes"), [("redis", 5 * 2**20), ("memcached", 1_000_001), ("memcached", 2**21)])
def test_a_value_that_is_too_large_is_not_put(kind: str, size_bytes: int, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[Any]:
        tier.put("large", b"x" * size_bytes, 60)
        tier.put("small", b"value", 60)
        return [await got(tier, "small", b"value"), await tier.get("large"), tier.trouble()]

    assert played(tier_of(kind, emptied), scenario) == [b"value", None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_after_its_end_a_tier_holds_nothing_and_raises_nothing(kind: str, emptied: dict[str, TierServer]) -> None:
    async def scenario(tier: SharedTier) -> list[Any]:
        tier.put("movie:1", b"value", 60)
        await tier.close()
        seen = [await tier.get("movie:1"), await tier.lease("lease", 60_000)]
        tier.put("movie:2", b"value", 60)
        tier.delete(["movie:2"])
        return seen

    assert played(tier_of(kind, emptied), scenario) == [None, True]


def test_memory_makes_room_by_the_oldest_and_can_be_away() -> None:
    async def scenario(tier: SharedTier) -> list[Any]:
        assert isinstance(tier, MemoryTier)
        for number in range(3):
            tier.put(f"movie:{number}", b"value", 60)
        found = [await tier.get(f"movie:{number}") for number in range(3)]
        tier.away = "it is away"
        tier.put("movie:3", b"value", 60)
        return [*found, await tier.get("movie:2"), await tier.lease("l", 1), await tier.lease("l", 1), tier.trouble()]

    seen = played(MemoryTier(most_entries=2), scenario)

    assert seen == [None, b"value", b"value", None, True, True, "it is away"]

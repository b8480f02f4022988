"""A shared tier that is ill: no error, no wait past the deadline, and it is used again by itself when it is well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from matinee.cache.shared import SharedTier, shared_tier
from tests.shared_tiers import SERVERS, RedisServer, TierServer, comes, played, running, well

pytestmark = pytest.mark.sqlite_only("a shared tier does not touch the catalogue")
DEADLINE_S = 0.05
PATIENT_S = 5.0  # the deadline where the server is well, only slow on such a machine
SOON_S = 1.0  # what is allowed for the deadline on a machine that has too much to do
KINDS = tuple(SERVERS)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TierServer]:
    """Return a server of a test's own."""
    with running(SERVERS[request.param], tmp_path) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[TierServer]:
    """Return a Redis of a test's own."""
    with running(RedisServer, tmp_path) as server:
        yield server


def tier_at(url: str, deadline_s: float = DEADLINE_S) -> SharedTier:
    return shared_tier(url if url.startswith("redis") else "", url if url.startswith("memcached") else "", deadline_s)


async def holding(tier: SharedTier, **values: bytes) -> None:
    """Put values and wait until all are found."""

    async def found() -> dict[str, bytes | None]:
        for key, value in values.items():
            tier.put(key, value, 60)
        await asyncio.sleep(0.01)
        return {key: await tier.get(key) for key in values}

    await comes(found, lambda seen: seen == values)


async def asked(tier: SharedTier, *keys: str) -> list[bytes | None]:
    """Ask for keys at once, and for a lease; everything is answered soon."""
    began_s = time.monotonic()
    *values, lease = await asyncio.gather(*map(tier.get, keys), tier.lease("lease", 60_000))
    assert time.monotonic() - began_s < SOON_S
    assert lease is True
    return values


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_frozen_server_costs_the_deadline_once_and_then_nothing(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"of a", b=b"of b")
        timeouts = counted("matinee_shared_cache_operations_total", operation="get", result="timeout")
        server.freeze()

        assert await asked(tier, *["a", "b"] * 100) == [None] * 200
        assert tier.trouble() == f"The shared cache {server.name} at {server.url} is not used: it does not answer in time."
        assert counted("matinee_shared_cache_up") == 0
        began_s = time.monotonic()
        assert [await tier.get("a") for _ in range(1_000)] == [None] * 1_000
        assert time.monotonic() - began_s < SOON_S
        assert counted("matinee_shared_cache_operations_total", operation="get", result="timeout") == timeouts + 200

        server.go_on()
        await well(tier)
        assert counted("matinee_shared_cache_up") == 1
        await comes(lambda: tier.get("b"), lambda value: value == b"of b")

    played(tier_at(server.url), scenario)


def test_a_late_answer_is_never_taken_for_another_ones(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        expected = {f"key{number}": b"of key%d" % number for number in range(3)}
        await holding(tier, **expected)
        for key in expected:
            server.freeze()
            assert await asked(tier, key) == [None]
            server.go_on()
            await well(tier)
            for other, value in expected.items():
                assert await tier.get(other) in (None, value)
        await holding(tier, **expected)

    played(tier_at(server.url), scenario)


def test_a_server_that_was_killed_is_used_again_when_it_is_back(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        outages = counted("matinee_shared_cache_outages_total")
        server.kill()

        for _ in range(10):
            assert await asked(tier, "a", "b") == [None, None]
            tier.put("a", b"value", 60)
            tier.delete(["b"])
        assert f"The shared cache {server.name} at {server.url} is not used: " in (tier.trouble() or "")
        assert counted("matinee_shared_cache_outages_total") == outages + 1

        await asyncio.to_thread(server.start)
        await well(tier)
        await holding(tier, a=b"new value")

    played(tier_at(server.url), scenario)


def test_a_server_that_was_started_anew_while_nobody_asked_is_simply_empty(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        outages = counted("matinee_shared_cache_outages_total")
        server.kill()
        await asyncio.to_thread(server.start)

        await asyncio.sleep(0.01)
        assert await asked(tier, "a") == [None]
        assert (tier.trouble(), counted("matinee_shared_cache_outages_total")) == (None, outages)

    played(tier_at(server.url, PATIENT_S), scenario)


def test_a_server_that_dies_under_what_it_is_sent_raises_nothing(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        server.freeze()
        for number in range(100):
            tier.put(f"many:{number}", b"x" * 10_000, 60)
        reads = asyncio.gather(*(tier.get("a") for _ in range(10)))
        await asyncio.sleep(0.01)  # they are on their way
        server.kill()

        assert await asyncio.wait_for(reads, SOON_S) == [None] * 10
        await asyncio.to_thread(server.start)
        await well(tier)
        await holding(tier, a=b"new value")

    played(tier_at(server.url), scenario)


def test_a_server_that_is_not_there_is_found_when_it_comes(server: TierServer) -> None:
    server.kill()

    async def scenario(tier: SharedTier) -> None:
        for _ in range(3):
            assert await asked(tier, "a") == [None]
        assert server.setting in (await tier.ping() or "")

        await asyncio.to_thread(server.start)
        await well(tier)
        await holding(tier, a=b"value")
        assert await tier.ping() is None

    played(tier_at(server.url), scenario)


def test_what_was_flushed_is_not_there_and_can_be_put_again(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        await asyncio.to_thread(server.flush)

        assert await tier.get("a") is None
        await holding(tier, a=b"new value")

    played(tier_at(server.url, PATIENT_S), scenario)


def test_a_tier_that_takes_no_values_is_still_read_and_says_so(redis: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        refused = counted("matinee_shared_cache_operations_total", operation="put", result="error")
        redis.say("CONFIG SET maxmemory 1")

        tier.put("b", b"value", 60)
        await comes(trouble_of(tier), bool)
        assert await asked(tier, "a", "b") == [b"value", None]
        assert (tier.trouble() or "").startswith(f"The shared cache redis at {redis.url} takes no values: OOM ")
        assert counted("matinee_shared_cache_operations_total", operation="put", result="error") == refused + 1

        redis.say("CONFIG SET maxmemory 0")
        await holding(tier, b=b"value")
        assert tier.trouble() is None

    played(tier_at(redis.url, PATIENT_S), scenario)


def test_a_memcached_without_room_is_still_read(tmp_path: Path) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")

        async def fill() -> str | None:
            for number in range(100):
                tier.put(f"large:{number}", b"x" * 60_000, 60)
            await asyncio.sleep(0.01)
            return tier.trouble()

        trouble = await comes(fill, bool)
        assert (
            trouble == f"The shared cache memcached at {server.url} takes no values: SERVER_ERROR out of memory storing object."
        )
        assert await tier.get("a") == b"value"

    with running(SERVERS["memcached"], tmp_path, "-M", "-m", "2") as server:
        played(tier_at(server.url, PATIENT_S), scenario)


def test_a_replica_is_read_and_takes_nothing(redis: TierServer, tmp_path: Path) -> None:
    async def scenario(tier: SharedTier) -> None:
        redis.say("CONFIG SET repl-diskless-sync-delay 0")
        redis.say("SET", "matinee:a", "value")
        await comes(lambda: tier.get("a"), lambda value: value == b"value")

        tier.put("b", b"value", 60)
        assert "READONLY" in (await comes(trouble_of(tier), bool) or "")
        assert await asked(tier, "a", "b") == [b"value", None]

    with running(RedisServer, tmp_path, "--replicaof", "127.0.0.1", str(redis.port)) as replica:
        played(tier_at(replica.url, PATIENT_S), scenario)


def trouble_of(tier: SharedTier) -> Callable[[], Any]:
    async def look() -> str | None:
        return tier.trouble()

    return look


@pytest.mark.parametrize("url", ["redis://:wrong@127.0.0.1:{}", "redis://127.0.0.1:{}", "redis://nobody:wrong@127.0.0.1:{}/0"])
def test_a_wrong_password_is_told_without_the_password(url: str, tmp_path: Path) -> None:
    async def scenario(tier: SharedTier) -> None:
        for _ in range(4):
            assert await asked(tier, "a") == [None]
        told = [tier.trouble() or "", await tier.ping() or ""]
        assert ["it refuses the user or password" in line and "wrong@" not in line for line in told] == [True, True]

    with running(RedisServer, tmp_path, "--requirepass", "right") as server:
        played(tier_at(url.format(server.port)), scenario)
        played(tier_at(f"redis://:right@127.0.0.1:{server.port}"), lambda tier: holding(tier, a=b"value"))


def test_what_others_left_under_our_keys_is_a_miss_or_the_readers_to_judge(redis: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        redis.say("HSET matinee:hash field value")
        redis.say("RPUSH matinee:list value")
        redis.say("SET matinee:text garbage")

        assert await asyncio.gather(*map(tier.get, ("hash", "list", "text"))) == [None, None, b"garbage"]
        await holding(tier, hash=b"value")
        assert tier.trouble() is None

    played(tier_at(redis.url, PATIENT_S), scenario)


FAKES = {
    "closes at once": b"",
    "no server of a cache": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "half an answer": b"*1\r\n$100\r\nabc",
    "half a line": b"VALUE matinee:a 0 1",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n" * 3,
    "too many clients": b"-ERR max number of clients reached\r\n",
    "out of memory": b"SERVER_ERROR out of memory writing get response\r\n",
    "no size": b"VALUE matinee:a 0 many\r\n",
    "another number of values": b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
    "no values": b":1\r\n",
    "endless": b"x" * 200_000,
}


@asynccontextmanager
async def fake_server(answer: bytes) -> AsyncIterator[int]:
    """Serve one answer to whatever is asked; without one, close the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer and await reader.read(2**16):
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("answer", FAKES.values(), ids=FAKES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_is_too_strange(kind: str, answer: bytes) -> None:
    async def scenario() -> None:
        async with fake_server(answer) as port:
            tier = tier_at(f"{kind}://127.0.0.1:{port}")
            for _ in range(5):
                tier.put("a", b"value", 60)
                tier.delete(["b"])
                assert await asked(tier, "a", "b") == [None, None]
            assert (tier.trouble() or "").startswith(f"The shared cache {kind} at {kind}://127.0.0.1:{port} is not used: ")
            assert await tier.ping() is not None
            await tier.close()

    asyncio.run(scenario())


def test_what_waits_for_a_frozen_server_is_bounded(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        skipped = counted("matinee_shared_cache_operations_total", operation="put", result="skipped")
        server.freeze()

        for number in range(5_000):
            tier.put(f"many:{number}", b"value", 60)
        assert counted("matinee_shared_cache_operations_total", operation="put", result="skipped") == skipped + 4_000
        assert await asked(tier, "a") == [None]

    played(tier_at(server.url), scenario)


def test_a_tier_is_closed_in_no_time_whatever_its_server_does(server: TierServer) -> None:
    async def scenario(tier: SharedTier) -> None:
        await holding(tier, a=b"value")
        server.freeze()
        waiting = asyncio.gather(*(tier.get("a") for _ in range(3)))
        tier.put("b", b"value", 60)
        await asyncio.sleep(0.01)

        await asyncio.wait_for(tier.close(), SOON_S)

        assert await asyncio.wait_for(waiting, SOON_S) == [None] * 3

    played(tier_at(server.url), scenario)

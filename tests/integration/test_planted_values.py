"""Values that another program writes into the shared tier: no server shows them, and each is a counted miss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from matinee import config as configuration
from matinee.cache.shared import SharedTier, shared_tier
from tests.client import Client
from tests.processes import eventually
from tests.shared_tiers import SERVERS, TierServer, comes, running

pytestmark = pytest.mark.sqlite_only("the shared tier does not depend on the engine")
PATIENT_S = 5.0


@pytest.fixture(scope="module", params=tuple(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierServer]:
    """Return a Redis, then a memcached."""
    with running(SERVERS[request.param], tmp_path_factory.mktemp("tier")) as server:
        yield server


@pytest.fixture
def client(small_catalogue: Path, server: TierServer) -> Iterator[Client]:
    """Return a service without a local tier, whose shared tier is that server and holds movies 1 and 2."""
    server.flush()
    urls = {f"{server.name}_url": server.url}
    with Client(configuration.load(home=small_catalogue), local_cache_bytes=0, **urls) as client:
        tier_of(client)._deadline_s = PATIENT_S  # type: ignore[attr-defined]
        client.get("/readyz"), client.get("/v1/movies/1"), client.get("/v1/movies/2")
        eventually(lambda: client.runtime.catalogue.log.oldest, lambda oldest: oldest == 1)
        held(client, "m:1"), held(client, "m:2")
        yield client


def tier_of(client: Client) -> SharedTier:
    tier: SharedTier = client.runtime.catalogue._loads._shared
    return tier


def held(client: Client, key: str) -> bytes:
    """Return a value as soon as it has been written in the background."""
    value = client._loop.run_until_complete(comes(lambda: tier_of(client).get(key), lambda value: value is not None))
    assert value is not None
    return value


def plant(client: Client, server: TierServer, key: str, value: bytes) -> None:
    """Write a value as a stranger does, with a tier of the stranger's own."""

    async def write() -> None:
        urls = (server.url if server.name == kind else "" for kind in ("redis", "memcached"))
        tier = shared_tier(*urls, deadline_s=PATIENT_S)
        tier.put(key, value, 60)
        await comes(lambda: tier.get(key), lambda found: found == value)
        await tier.close()

    client._loop.run_until_complete(write())


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("matinee_shared_cache_refused_values_total", {"reason": reason}) or 0.0


FORGED: dict[str, tuple[str, Callable[[bytes, bytes], bytes]]] = {
    "changed": ("mac", lambda one, two: one.replace(b"Alien", b"Agent")),
    "of another movie": ("mac", lambda one, two: two),
    "truncated": ("mac", lambda one, two: one[:-1]),
    "without a MAC": ("format", lambda one, two: b"\x01" + one[1:13] + one[29:].replace(b"Alien", b"Agent")),
    "foreign": ("format", lambda one, two: b"a value of another program"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_planted_value_is_a_counted_miss(client: Client, server: TierServer, kind: str) -> None:
    reason, forge = FORGED[kind]
    shown, before = client.get("/v1/movies/1").content, counted(reason)

    plant(client, server, "m:1", forge(held(client, "m:1"), held(client, "m:2")))

    assert client.get("/v1/movies/1").content == shown
    assert counted(reason) > before


def test_a_genuine_value_is_used(client: Client, server: TierServer) -> None:
    genuine, statements = held(client, "m:1"), client.reader.statements
    plant(client, server, "m:1", genuine)

    answer = client.get("/v1/movies/1")

    assert (answer.json()["title"], client.reader.statements) == ("Alien", statements)

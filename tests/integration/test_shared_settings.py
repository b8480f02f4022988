"""What the commands say of a shared cache: `doctor` and `config show`; and what is made of its URL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from matinee.cache.shared import shared_tier
from matinee.cli import health_cache
from matinee.config import Config
from matinee.errors import ConfigError, OperatorError
from matinee.ops.processes import free_port
from tests.processes import matinee
from tests.shared_tiers import SERVERS, MemcachedServer, RedisServer, TierServer, running

pytestmark = pytest.mark.sqlite_only("a shared tier does not touch the catalogue")
NO_LIMIT = "no limit used, noeviction; it grows until the machine's memory is full: set maxmemory, and"
ADVICE = "set maxmemory-policy allkeys-lfu and lfu-decay-time 10"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierServer]:
    """Return a Redis that the tests of this module set up anew."""
    with running(RedisServer, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize(
    ("limit", "policy", "decay", "told"),
    [
        ("0", "noeviction", "1", f"{NO_LIMIT} {ADVICE}"),
        ("100mb", "allkeys-lru", "1", f"100.0 MiB used, allkeys-lru; more would be found: {ADVICE}"),
        ("100mb", "allkeys-lfu", "1", "100.0 MiB used, allkeys-lfu; lfu-decay-time is 1; with 10 more would be found"),
        ("100mb", "allkeys-lfu", "10", "100.0 MiB used, allkeys-lfu"),
    ],
)  # fmt: skip
def test_doctor_tells_how_redis_is_set_up(limit: str, policy: str, decay: str, told: str, redis: TierServer) -> None:
    redis.say("CONFIG SET", "maxmemory", limit, "maxmemory-policy", policy, "lfu-decay-time", decay)

    line = health_cache.redis(Config(redis_url=redis.url))

    assert re.sub(r"\d+\.\d+\.\d+, \d+\.\d MiB", "VERSION, SIZE", line) == f"Redis VERSION, SIZE of {told}"


def test_doctor_finds_a_redis_bad_that_will_refuse_values(redis: TierServer) -> None:
    redis.say("CONFIG SET maxmemory 100mb maxmemory-policy noeviction")

    with pytest.raises(OperatorError) as caught:
        health_cache.redis(Config(redis_url=redis.url))

    assert caught.value.detail == f"Redis refuses values when its 100.0 MiB are full (noeviction); {ADVICE}."


def test_doctor_needs_no_right_to_configure_redis(redis: TierServer) -> None:
    redis.say("CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lfu")
    redis.say("ACL SETUSER reader on >secret ~matinee:* +mget +set +del +info +client|setname")

    line = health_cache.redis(Config(redis_url=redis.url.replace("://", "://reader:secret@")))

    assert line.endswith(" of 100.0 MiB used, allkeys-lfu")


def test_doctor_tells_how_full_memcached_is(tmp_path: Path) -> None:
    with running(MemcachedServer, tmp_path, "-m", "8") as server:
        line = health_cache.memcached(Config(memcached_url=server.url))

    assert re.sub(r"\d+\.\d+\.\d+", "VERSION", line) == "memcached VERSION, 0.0 MiB of 8.0 MiB used"


def test_doctor_refuses_a_redis_cluster(tmp_path: Path) -> None:
    with running(RedisServer, tmp_path, "--cluster-enabled", "yes") as server:
        server.say("CLUSTER ADDSLOTSRANGE 0 16383")

        with pytest.raises(OperatorError) as caught:
            health_cache.redis(Config(redis_url=server.url))

    assert "Cluster" in caught.value.detail or "CLUSTERDOWN" in caught.value.detail


@pytest.mark.parametrize("kind", SERVERS)
def test_doctor_has_a_line_for_a_shared_cache_that_is_not_there(kind: str, tmp_path: Path) -> None:
    url = f"{kind}://127.0.0.1:{free_port()}"

    seen = matinee(tmp_path / "nowhere", "doctor", "--json", **{SERVERS[kind].setting: url})

    (line,) = [finding for finding in json.loads(seen.stdout) if finding["name"] == kind]
    assert (seen.returncode, line["ok"]) == (1, False)
    assert line["detail"].startswith(f"The shared cache {kind} at {url} cannot be used: ")
    assert line["detail"].endswith(
        f". Start it or mend it, correct {SERVERS[kind].setting}, or unset it: it is not needed for a correct answer."
    )


def test_config_show_masks_the_passwords_in_urls(tmp_path: Path) -> None:
    urls = {
        "REDIS_URL": "redis://:secret@cache:6379/0",
        "DATABASE_URL": "postgresql://user:secret@db/matinee",
        "DATABASE_FOLLOWER_URLS": "postgresql://user:secret@one/matinee,postgresql://user:secret@two/matinee",
    }

    seen = matinee(tmp_path, "config", "show", "--json", **urls)

    shown = {row["setting"]: row["value"] for row in json.loads(seen.stdout)}
    assert {name: shown[name] for name in urls} == {name: url.replace("secret", "***") for name, url in urls.items()}


@pytest.mark.parametrize(
    ("redis_url", "memcached_url"),
    [
        ("redis://:secret@cache:port", ""),
        ("redis://:secret@cache?db=x", ""),
        ("redis://:secret@cache?unknown=1", ""),
        ("", "memcached://cache:99999"),
    ],
)
def test_a_url_that_no_driver_can_use_is_told_at_the_start(redis_url: str, memcached_url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        shared_tier(redis_url, memcached_url, 0.05)

    assert "cannot be used (" in caught.value.detail
    assert "secret" not in caught.value.detail

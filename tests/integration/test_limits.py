"""Limits for each client address and each key: what is counted, on whom, and what the answers say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from matinee import config as configuration
from matinee.errors import NoReaderAvailable
from matinee.http.limits import KEY_REFRESH_S
from matinee.storage.asking import Asking
from matinee.storage.models import ApiKey
from matinee.write import keys
from tests.client import Client
from tests.processes import eventually

WITHOUT, OR_ELSE = "for a key without a quota", "or its clients share one limit"
PROXY = (ipaddress.ip_network("127.0.0.1/32"),)


class Clock:
    """A clock that stands still until it is moved."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Limited(Client):
    """The service with a limit of two requests a second, twenty at once, on a clock of its own; nothing is kept."""

    def __init__(self, home: Path, **changes: Any) -> None:
        stated = {"client_rate": 2.0, "key_rate": 1.0, "local_cache_bytes": 0} | changes
        super().__init__(configuration.load(home=home), **stated)
        self.clock = Clock()
        self.front._limits._clock = self.clock

    def count(self, path: str = "/v1/genres", **options: Any) -> int:
        """Return how many requests are answered until one is a 429; a hundred at most."""
        method = options.pop("method", "GET")
        statuses = (self.request(method, path, **options).status_code for _ in range(100))
        return next((number for number, status in enumerate(statuses) if status == 429), 100)


@pytest.fixture
def limited(small_catalogue: Path) -> Iterator[Limited]:
    """Return the service with limits."""
    with Limited(small_catalogue) as client:
        yield client


def bearer(key: str) -> dict[str, Any]:
    """Return what sends a key."""
    return {"headers": {"authorization": f"Bearer {key}"}}


def test_a_request_beyond_the_limit_is_a_429_that_says_when_to_try_again(limited: Limited) -> None:
    first, answered = limited.get("/v1/genres"), limited.count()

    refused = limited.get("/v1/genres", headers={"x-request-id": "abc-1"})

    assert (first.status_code, answered) == (200, 19)
    told = [(first.headers["ratelimit-policy"], first.headers["ratelimit"])]
    told += [(refused.headers["ratelimit-policy"], refused.headers["ratelimit"])]
    assert told == [('"client";q=20;w=10', '"client";r=19;t=1'), ('"client";q=20;w=10', '"client";r=0;t=10')]
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["cache-control"]) == (429, "1", "no-store")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json() == {
        "type": "http://testserver/docs/errors/too-many-requests",
        "title": "This client has sent too many requests; wait as long as Retry-After says.",
        "status": 429,
        "detail": "This address has used its 20 requests of 10 s; wait 1 s, then send fewer.",
        "errors": [],
        "request_id": "abc-1",
        "current_version": None,
    }


def test_requests_come_back_with_time(limited: Limited) -> None:
    limited.count()

    limited.clock.now_s += 3.0

    assert limited.count() == 6


def test_health_is_never_limited_and_refusals_are_counted(limited: Limited) -> None:
    def refusals() -> float:
        return REGISTRY.get_sample_value("matinee_rate_limited_total", {"policy": "client"}) or 0

    before = refusals()
    limited.count()

    health = [limited.get(path) for path in ("/livez", "/readyz")]
    assert [answer.status_code for answer in health] == [200] * 2
    assert "ratelimit" not in health[0].headers
    assert refusals() == before + 1


def test_metrics_count_on_a_client_and_on_nothing_at_the_health_listener(limited: Limited) -> None:
    listener = httpx.AsyncClient(transport=httpx.ASGITransport(app=of_listener(limited.front)), base_url="http://localhost")

    answered = limited.count("/metrics")

    at_listener = [limited._loop.run_until_complete(listener.get("/metrics")).status_code for _ in range(2)]
    assert (answered, at_listener) == (20, [200, 200])


def of_listener(front: Any) -> Any:
    """Return the service as the health listener asks it: without a client."""

    async def ask(scope: Any, receive: Any, send: Any) -> None:
        await front({**scope, "client": None}, receive, send)

    return ask


def test_a_write_costs_five_requests_and_a_refused_key_ten_more(limited: Limited) -> None:
    assert limited.count("/v1/movies", method="POST", json={"title": "X"}) == 2  # 15 and 15, of 20: the second leaves a debt


def test_hits_of_the_local_cache_are_not_counted_and_say_nothing_of_limits(small_catalogue: Path) -> None:
    with Limited(small_catalogue, local_cache_bytes=2**20) as client:
        client.get("/v1/genres")

        answered, hit = client.count(), client.get("/v1/genres")

    assert answered == 100
    assert (hit.headers["cache-status"], "ratelimit" in hit.headers) == ("matinee-local; hit", False)


def test_without_a_limit_nothing_is_said_and_nothing_refused(small_catalogue: Path) -> None:
    with Limited(small_catalogue, client_rate=-1.0, key_rate=-1.0) as client:
        assert client.count() == 100
        assert not [name for name in client.get("/v1/genres").headers if name.startswith("ratelimit")]
        assert len(client.front._limits.buckets) == 0


def test_in_production_there_is_a_limit_unless_the_setting_says_otherwise() -> None:
    stated = {"MATINEE_ENV": "production", "SECRET_KEY": "x" * 32, "ALLOWED_HOSTS": "a.example"}
    found = [
        (config.client_rate_per_s, config.key_rate_per_s)
        for more in ({}, {"MATINEE_CLIENT_RATE": "off", "MATINEE_KEY_RATE": "7.5"}, {"MATINEE_ENV": "development"})
        for config in [configuration.load(stated | more)]
    ]

    assert found == [(100.0, 500.0), (0.0, 7.5), (0.0, 0.0)]


# Who is counted.


def forwarded(address: str) -> dict[str, str]:
    return {"x-forwarded-for": address}


def test_clients_behind_a_trusted_proxy_are_told_apart_and_an_ipv6_network_is_one_client(small_catalogue: Path) -> None:
    with Limited(small_catalogue, trusted_proxies=PROXY) as client:
        answered = [
            client.count(headers=forwarded(address)) for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
        ]
        invented = client.count(headers=forwarded("198.51.100.7, 192.0.2.1"))

    assert (answered, invented) == ([20, 20, 20, 0], 0)


def test_all_networks_of_an_ipv6_site_together_get_what_sixteen_clients_get(small_catalogue: Path) -> None:
    with Limited(small_catalogue, trusted_proxies=PROXY, client_rate=0.2) as client:  # two at once
        used = [client.count(headers=forwarded(f"2001:db8:1:{number:x}::1")) for number in range(16)]
        refused = client.get("/v1/genres", headers=forwarded("2001:db8:1:99::1"))
        other = client.count(headers=forwarded("2001:db8:2::1"))

    assert (used, other) == ([2] * 16, 2)
    assert (refused.status_code, refused.headers["ratelimit-policy"]) == (429, '"site";q=32;w=10')
    assert refused.json()["detail"] == "This IPv6 /48 network has used its 32 requests of 10 s; wait 1 s, then send fewer."


def test_unknown_keys_of_an_ipv6_site_cost_no_look_up_when_it_has_nothing_left(small_catalogue: Path) -> None:
    with Limited(small_catalogue, trusted_proxies=PROXY, client_rate=0.1) as client:  # one at once
        for number in range(20):
            client.get("/v1/genres", headers=forwarded(f"2001:db8:1:{number:x}::1"))
        before = client.reader.statements

        refused = client.get("/v1/genres", headers=forwarded("2001:db8:1:99::1") | bearer("matinee_unknown")["headers"])

    assert (refused.status_code, client.reader.statements) == (429, before)


def test_an_answer_that_a_shared_cache_may_keep_says_nothing_of_one_clients_limit(small_catalogue: Path) -> None:
    def told(**changes: Any) -> bool:
        with Limited(small_catalogue, **changes) as client:
            return "ratelimit" in client.get("/v1/movies/1").headers

    kept = [told(s_maxage_s=5), told(cdn_max_age_s=60), told(max_age_s=5)]
    assert (told(), told(max_age_s=5, public_reads=False), kept) == (True, True, [False] * 3)


def test_an_address_that_a_client_invents_gives_it_no_more_requests(limited: Limited) -> None:
    answered = [limited.count(headers=forwarded(f"192.0.2.{number}")) for number in range(3)]

    assert answered == [20, 0, 0]


def test_a_request_with_a_valid_key_counts_on_the_key(limited: Limited) -> None:
    one, two = keys.create("one", "read", "tests"), keys.create("two", "read", "tests", quota=30)
    limited.get("/v1/genres", **bearer(one.text))

    told = limited.get("/v1/genres", **bearer(one.text)).headers
    answered = [limited.count(**bearer(key.text)) for key in (one, two)]

    assert (told["ratelimit-policy"], told["ratelimit"]) == ('"key";q=60;w=60', '"key";r=58;t=2')
    assert answered == [58, 30]
    assert limited.count() == 18  # to look up each of the two keys counted on the address


def test_a_key_without_a_limit_has_none_and_one_with_a_quota_has_it_where_there_is_no_limit(small_catalogue: Path) -> None:
    free, bound = keys.create("free", "read", "tests", quota=0), keys.create("bound", "read", "tests", quota=3)
    with Limited(small_catalogue) as client:
        assert client.count(**bearer(free.text)) == 100
    with Limited(small_catalogue, client_rate=0.0, key_rate=0.0) as client:
        assert client.count(**bearer(bound.text)) == 3


def test_an_unknown_or_revoked_key_counts_on_the_address(limited: Limited) -> None:
    revoked = keys.create("gone", "read", "tests")
    keys.revoke(revoked.prefix, "tests")

    answered = [limited.count(**bearer(key)) for key in (revoked.text, "matinee_unknown")]

    assert answered == [19, 0]


def test_unknown_keys_cost_no_look_up_when_the_address_has_nothing_left(limited: Limited) -> None:
    limited.count()
    before = limited.reader.statements

    refused = [limited.get("/v1/genres", **bearer(f"matinee_{number}")).status_code for number in range(5)]

    assert (refused, limited.reader.statements) == ([429] * 5, before)


def test_a_changed_quota_takes_effect_when_the_keys_row_is_read_again(limited: Limited) -> None:
    key = keys.create("shop", "read", "tests", quota=2)
    before = limited.count(**bearer(key.text))
    keys.set_quota(key.prefix, 40, "tests")
    still = limited.get("/v1/genres", **bearer(key.text)).headers["ratelimit-policy"]

    limited.clock.now_s += KEY_REFRESH_S

    def told() -> str:
        return str(limited.get("/v1/genres", **bearer(key.text)).headers["ratelimit-policy"])

    assert (before, still, eventually(told, lambda policy: policy != still)) == (2, '"key";q=2;w=60', '"key";q=40;w=60')


def failing_look_ups(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let no key be looked up any more; return the list of what is tried from now on."""
    tried: list[str] = []

    async def key(digest: str) -> None:
        tried.append(digest)
        raise NoReaderAvailable("Away.")

    monkeypatch.setattr(limited.runtime.catalogue, "key", key)
    return tried


def test_while_no_key_can_be_looked_up_only_the_first_request_of_a_key_waits(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = failing_look_ups(limited, monkeypatch)

    told = [limited.get("/v1/genres", **bearer("matinee_new")).headers["ratelimit-policy"] for _ in range(5)]

    assert (len(tried), set(told)) == (1, {'"client";q=20;w=10'})


def test_a_key_that_cannot_be_read_again_keeps_its_limit_and_is_tried_once_a_second(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys.create("shop", "read", "tests", quota=40)
    limited.get("/v1/genres", **bearer(key.text))
    tried = failing_look_ups(limited, monkeypatch)

    told = set()
    for _ in range(3):
        limited.clock.now_s += KEY_REFRESH_S
        told |= {limited.get("/v1/genres", **bearer(key.text)).headers["ratelimit-policy"] for _ in range(3)}

    assert (told, len(tried)) == ({'"key";q=40;w=60'}, 3)


def test_a_background_read_is_charged_to_the_client_that_caused_it(limited: Limited) -> None:
    async def load(asking: Asking) -> str:
        asking.expensive += 1
        return asking.client

    scope = {"client": ("127.0.0.1", 1), "headers": []}
    client = limited._loop.run_until_complete(limited.front._limits.charged(scope, load))

    assert (client, limited.count()) == ("127.0.0.1", 10)


def test_the_keys_that_are_remembered_are_bounded(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matinee.http.limits._MAX_KEYS", 3)

    for number in range(9):
        limited.get("/v1/genres", **bearer(f"matinee_{number}"))

    assert len(limited.front._limits._keys) == 3


@pytest.mark.sqlite_only("its lane can be told what is expensive; see test_routing.py for PostgreSQL's")
def test_an_expensive_read_costs_ten_more_requests(limited: Limited) -> None:
    lane = limited.reader._source.expensive
    lane.measured("people 1 1", 60.0)
    lane.limit_s = 0.0

    limited.get("/v1/suggest?q=a")

    assert limited.get("/v1/genres").headers["ratelimit"] == '"client";r=8;t=6'  # of 20: 1 and 10, and 1


def test_the_body_of_a_refused_write_is_read_so_that_the_connection_can_be_used_again(limited: Limited) -> None:
    limited.count()

    refused = limited.request("POST", "/v1/movies", content=b"x" * 5_000)

    assert (refused.status_code, refused.json()["status"]) == (429, 429)


def test_pages_of_other_origins_may_read_the_headers_of_limits(small_catalogue: Path) -> None:
    with Limited(small_catalogue, cors_origins=("https://films.example.org",)) as client:
        answer = client.get("/v1/genres", headers={"origin": "https://films.example.org"})

    assert {"RateLimit", "RateLimit-Policy"} <= set(re.split(", ", answer.headers["access-control-expose-headers"]))


def test_every_operation_documents_the_429(limited: Limited) -> None:
    paths = limited.get("/openapi.json").json()["paths"]
    responses = [operation["responses"] for path in paths.values() for operation in path.values()]

    assert {tuple(response["429"]["headers"]) for response in responses} == {("Retry-After", "RateLimit", "RateLimit-Policy")}


# Quotas.


@pytest.mark.parametrize("quota", [-1, 10**10])
def test_a_quota_out_of_bounds_is_refused(catalogue_home: Path, quota: int) -> None:
    from matinee.errors import InvalidBody

    with pytest.raises(InvalidBody, match="requests a minute"):
        keys.create("robot", "read", "tests", quota)

    assert not ApiKey.objects.exists()


def test_a_quota_that_is_set_is_in_the_log_once(catalogue_home: Path) -> None:
    from matinee.storage.models import Change

    key = keys.create("robot", "read", "tests")
    changed = [keys.set_quota(key.prefix, quota, "ann") for quota in (5, 5, None)]

    rows = list(Change.objects.filter(kind="updated").order_by("position").values_list("version", "actor", "detail"))
    assert changed == [True, False, True]
    assert rows == [
        (2, "ann", {"name": "robot", "fields": {"quota": [None, 5]}}),
        (3, "ann", {"name": "robot", "fields": {"quota": [5, None]}}),
    ]


# What `doctor` says.


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({}, "no limit for a client address"),
        (
            {"MATINEE_ENV": "production", "MATINEE_CLIENT_RATE": "off"},
            "no limit for a client address; anybody may send any number of requests: set MATINEE_CLIENT_RATE",
        ),
        (
            {"MATINEE_ENV": "production", "WEB_CONCURRENCY": "3", "MATINEE_TRUSTED_PROXIES": "10.0.0.1"},
            f"100 requests/s for an address, 500 {WITHOUT}; each of 3 processes counts alone: set REDIS_URL to count together",
        ),
        (
            {"MATINEE_CLIENT_RATE": "5"},
            f"5 requests/s for an address, no limit {WITHOUT}; behind a proxy set MATINEE_TRUSTED_PROXIES, {OR_ELSE}",
        ),
    ],
)
def test_doctor_says_which_limits_there_are_and_what_is_missing(stated: dict[str, str], told: str) -> None:
    from matinee.cli import health

    assert health._limits(configuration.load({"SECRET_KEY": "x" * 32, "ALLOWED_HOSTS": "a.example"} | stated)) == told

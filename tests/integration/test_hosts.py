"""Host headers: which are answered, and that a stranger's never stands in an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.http.front import Front
from matinee.http.hosts import Hosts
from tests.client import Client

EVIL = {"host": "evil.example"}
PAGE, MOVIE = "/v1/movies?limit=1", "/v1/movies/1"


@pytest.fixture
def named(small_catalogue: Path) -> Iterator[Client]:
    """Return the service of an installation that names its hosts."""
    config = configuration.load(home=small_catalogue)
    with Client(config, allowed_hosts=("movies.example.org", ".films.example.org", "testserver")) as client:
        yield client


@pytest.fixture
def unnamed(small_catalogue: Path) -> Iterator[Client]:
    """Return the service of a developer, who has named no hosts."""
    config = configuration.load(home=small_catalogue)
    with Client(config, allowed_hosts=config.allowed_hosts) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    ["movies.example.org", "MOVIES.example.org:8443", "movies.example.org.", "films.example.org", "a.b.films.example.org:80",
     "127.0.0.1:8000"],
)  # fmt: skip
def test_a_named_host_is_answered_and_stands_in_links(named: Client, host: str) -> None:
    misses_and_hits = [named.get(PAGE, headers={"host": host}) for _ in range(2)]

    assert [answer.status_code for answer in misses_and_hits] == [200, 200]
    assert all(answer.headers["link"].startswith(f"<http://{host}/v1/movies?limit=1&cursor=") for answer in misses_and_hits)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "movies.example.org.evil.example", "notfilms.example.org", "movies.example.org@evil.example",
     "movies.example.org, evil.example", "movies.example.org:80:80", "[::1", "a b", "", "x" * 300],
)  # fmt: skip
@pytest.mark.parametrize("path", [MOVIE, PAGE, "/v1/movies/999", "/nowhere", "/docs", "/admin/login/", "/static/none.css"])
def test_another_host_is_a_400_that_does_not_link_to_it(named: Client, host: str, path: str) -> None:
    named.get(path)  # kept, where anything is

    answer = named.get(path, headers={"host": host})

    assert (answer.status_code, answer.json()["type"]) == (400, "/docs/errors/host-not-allowed")
    assert not any("evil" in value for value in answer.headers.values())


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_health_is_told_to_any_host(named: Client, path: str) -> None:
    answers = [named.get(path, headers={"host": host}).status_code for host in ("10.1.2.3:8000", "evil.example", "")]

    assert answers == [200, 200, 200]


def test_a_developers_server_answers_any_host_with_links_to_none_of_them(unnamed: Client) -> None:
    pages = [unnamed.get(PAGE, headers=EVIL) for _ in range(2)]
    problem = unnamed.get("/v1/movies/999", headers=EVIL)
    admin = unnamed.get("/admin/login/", headers=EVIL)

    assert [page.headers["link"].startswith("</v1/movies?limit=1&cursor=") for page in pages] == [True, True]
    assert (problem.status_code, problem.json()["type"]) == (404, "/docs/errors/not-found")
    assert (admin.status_code, admin.json()["type"]) == (400, "/docs/errors/host-not-allowed")


def test_a_trial_on_all_addresses_answers_any_host_with_links_to_it(small_catalogue: Path) -> None:
    config = configuration.load(home=small_catalogue)
    with Client(config, allowed_hosts=config.allowed_hosts, host="0.0.0.0") as client:
        page = client.get(PAGE, headers={"host": "box.lan:8000"})

    assert page.headers["link"].startswith("<http://box.lan:8000/v1/movies")


def raw(front: Front, *headers: tuple[bytes, bytes], version: str = "1.1", path: str = MOVIE) -> int:
    """Return the status of a request with exactly these headers."""
    import asyncio

    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"http_version": version, "scheme": "http", "headers": list(headers), "client": ("127.0.0.1", 1)}
    asyncio.get_event_loop().run_until_complete(front(scope, receive, send))
    return statuses[0]


def test_two_hosts_or_none_are_refused_hit_or_miss(named: Client) -> None:
    import asyncio

    asyncio.set_event_loop(named._loop)
    host = (b"host", b"testserver")
    kept = raw(named.front, host)

    refused = [raw(named.front, *hosts) for hosts in ((host, host), (host, (b"host", b"evil")), (), ((b"host", b""),))]
    old = [raw(named.front, version="1"), raw(named.front, (b"host", b""), version="1")]

    assert (kept, refused, old) == (200, [400, 400, 400, 400], [200, 200])
    assert raw(named.front, host, host, path="/livez") == 400


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    hosts = Hosts(configuration.Config(host="0.0.0.0"))

    admitted = [hosts.admits(b"host-%d" % number) for number in range(2_000)]

    assert (all(admitted), len(hosts.known)) == (True, 256)

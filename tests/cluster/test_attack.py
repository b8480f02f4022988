"""The fuzzers of `scripts/attack`, a small share of each: no bad input causes a 5xx, and none changes what it does not name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bench.attack import bodies, raw, staff
from bench.attack.served import account, require_loopback
from bench.attack.wire import Target

from tests.conftest import catalogue_in
from tests.processes import Server, matinee, start_server

pytestmark = pytest.mark.sqlite_only("the fuzzers attack the server, whichever engine it reads from")


@pytest.fixture(scope="module")
def attacked(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server for all of these."""
    home = tmp_path_factory.mktemp("attacked")
    with catalogue_in(home, empty_catalogue), start_server(home) as server:
        yield server


def target(server: Server) -> Target:
    parts = urlsplit(server.url)
    return Target(parts.hostname or "", parts.port or 0)


def write_key(server: Server) -> str:
    return matinee(server.home, "key", "create", "--name", "tests", "--scope", "write").stdout.strip()


def test_raw_requests_cause_no_5xx(attacked: Server) -> None:
    answered: Counter[int] = Counter()

    faults = asyncio.run(raw.attack(target(attacked), 400, 101, answered))

    assert faults == []
    assert answered.total() == 400


def test_broken_documents_cause_no_5xx_and_leave_nothing_behind(attacked: Server) -> None:
    before = matinee(attacked.home, "export", "ndjson", "-").stdout

    faults = asyncio.run(bodies.attack(target(attacked), write_key(attacked), 300, 102, Counter()))

    assert faults == []
    assert matinee(attacked.home, "export", "ndjson", "-").stdout == before


def test_broken_requests_of_staff_cause_no_5xx(attacked: Server) -> None:
    session = account(attacked.home, "make")

    faults = asyncio.run(staff.attack(target(attacked), write_key(attacked), session, 200, 103, Counter()))

    assert faults == []


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:80", "http://example.org", "https://127.0.0.1", "http://0.0.0.0:8000", "127.0.0.1"]
)
def test_only_servers_of_this_machine_are_attacked(url: str) -> None:
    with pytest.raises(SystemExit, match="is not a server of this machine"):
        require_loopback(url)

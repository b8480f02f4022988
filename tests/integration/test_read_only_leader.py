"""A leader that answers and refuses writes: /readyz says so instead of "ready"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from matinee import config as configuration
from tests import postgres
from tests.client import Client
from tests.processes import eventually


@pytest.mark.sqlite_only("PostgreSQL has no file of ours")
@pytest.mark.parametrize("locked", ["", "catalogue.sqlite3", "catalogue.sqlite3-wal"])
def test_a_file_or_folder_that_cannot_be_written_is_degraded(
    small_catalogue: Path, monkeypatch: pytest.MonkeyPatch, locked: str
) -> None:
    with Client(configuration.load(home=small_catalogue)) as client:
        (small_catalogue / "catalogue.sqlite3-wal").touch()
        before, path, access = client.get("/readyz").json()["status"], small_catalogue / locked, os.access
        # Root may write anywhere, so that a mode of 0400 would prove nothing.
        monkeypatch.setattr(os, "access", lambda asked, mode: Path(asked) != path and access(asked, mode))

        answer = client.get("/readyz")

    assert (before, answer.status_code, answer.json()["status"]) == ("ready", 200, "degraded")
    assert answer.json()["reason"].startswith(f"{path} is read-only: writes are refused.")


@pytest.fixture
def read_only(small_catalogue: Path) -> Iterator[Client]:
    """Return the service over a PostgreSQL database in which new sessions may only read."""
    if not postgres.wanted():
        pytest.skip("a setting of PostgreSQL")
    config = configuration.load(home=small_catalogue)
    with psycopg.connect(config.database_url, autocommit=True) as session:
        name = session.info.dbname
        session.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        with Client(config) as client:
            yield client
        session.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def test_a_leader_whose_sessions_may_only_read_is_degraded_and_writes_are_refused_at_once(read_only: Client) -> None:
    def look() -> Any:
        return read_only.get("/readyz").json()

    state = eventually(look, lambda seen: seen["status"] == "degraded")
    read, write = read_only.get("/v1/movies/1"), read_only.request("DELETE", "/v1/movies/1", headers={"if-match": "*"})

    assert state["reason"].startswith(
        "The leader is read-only (default_transaction_read_only is on there): writes are refused."
    )
    assert (read.status_code, write.status_code, write.json()["type"].rpartition("/")[2]) == (200, 503, "leader-unavailable")

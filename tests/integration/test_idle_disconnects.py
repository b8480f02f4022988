"""Connections that the server closed while they were idle are replaced before anything is sent over them."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from matinee.storage import writer
from matinee.storage.leader_backend import base
from tests import postgres
from tests.client import Client
from tests.processes import eventually

pytestmark = pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: SQLite's file has no connections to lose")

FOUND = (
    "SELECT pid FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE %s"
)
LEFT = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"


def end_sessions(like: str) -> int:
    """End sessions as a restart, a firewall or idle_session_timeout does; return how many once all of them are gone."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        pids = [row[0] for row in session.execute(FOUND, [like]).fetchall()]
        session.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [pids])
        eventually(lambda: session.execute(LEFT, [pids]).fetchall()[0][0], lambda left: left == 0)
        return len(pids)


def test_the_first_write_after_an_idle_disconnect_succeeds(movies: Client) -> None:
    assert movies.write("POST", "/v1/movies", {"title": "Before"}).status_code == 201

    ended = end_sessions("matinee-writer%")
    written = movies.write("POST", "/v1/movies", {"title": "After"})

    assert (ended >= 1, written.status_code) == (True, 201)


def test_the_first_read_after_an_idle_disconnect_succeeds_on_a_server_without_followers(movies: Client) -> None:
    assert movies.get("/v1/movies/1").status_code == 200

    ended = end_sessions("matinee-leader-reads%")
    answers = [movies.get(f"/v1/movies/{movie_id}").status_code for movie_id in range(2, 8)]

    assert (ended >= 1, answers) == (True, [200] * 6)


def test_a_loss_that_only_the_first_statement_shows_is_tried_once_more(movies: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    movies.write("POST", "/v1/movies", {"title": "Before"})
    monkeypatch.setattr(base, "has_ended", lambda _: False)  # as when PgBouncer loses the server behind it

    end_sessions("matinee-writer%")
    written = movies.write("POST", "/v1/movies", {"title": "After"})

    assert written.status_code == 201, written.text
    assert (written.status_code, movies.titles("/v1/search?q=after")) == (201, ["After"])


def test_a_loss_at_the_commit_is_never_tried_again(small_catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matinee.errors import LeaderUnavailable
    from matinee.write import movies as writes

    began: list[int] = []
    begin_once = writer._begin_once
    monkeypatch.setattr(writer, "_begin_once", lambda *words: began.append(1) or begin_once(*words))
    finish = writer.Transaction.finish

    def finish_and_lose(work: writer.Transaction) -> None:
        finish(work)
        end_sessions("matinee-writer%")

    monkeypatch.setattr(writer.Transaction, "finish", finish_and_lose)

    with pytest.raises(LeaderUnavailable, match="the write may be there"):
        writes.delete(1, "tests", None)

    assert began == [1]

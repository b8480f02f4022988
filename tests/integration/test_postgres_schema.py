"""The schema on PostgreSQL: who may do what, two who migrate at once, and what is said when it cannot be done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from matinee.storage.sql import named_queries
from tests import postgres
from tests.conftest import INSTANCE
from tests.processes import MATINEE, environment, matinee

pytestmark = pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: a file has no roles")


@pytest.fixture
def empty_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a database without any table; commands of the test work on it."""
    assert INSTANCE is not None
    INSTANCE.run("CREATE DATABASE nothing_yet")
    monkeypatch.setenv("DATABASE_URL", INSTANCE.url("nothing_yet"))
    yield INSTANCE.url("nothing_yet")
    INSTANCE.drop("nothing_yet")


def as_role(role: str) -> psycopg.Connection[tuple[object, ...]]:
    """Return a session of the owner's that has taken on a role, with the role's own settings left out."""
    session = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    session.execute(f"SET ROLE {role}")
    return session


@pytest.mark.parametrize(
    "statement", ["DELETE FROM movie_document", "UPDATE log_head SET position = 9", "SELECT * FROM auth_user"]
)
def test_the_reader_can_neither_write_nor_see_who_signs_in(small_catalogue: Path, statement: str) -> None:
    with as_role("matinee_reader") as session:
        assert session.execute("SELECT count(*) FROM movie_document").fetchone() == (12,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)


def test_the_reader_sees_what_is_trending_and_the_writer_counts_it(small_catalogue: Path) -> None:
    with as_role("matinee_writer") as session:
        session.execute("INSERT INTO movie_popularity (movie_id, day, week) VALUES (1, 2, 3)")
    with as_role("matinee_reader") as session:
        assert session.execute(named_queries("postgresql")["trending_by_day"].replace(":limit", "9")).fetchall() == [(1, 2.0)]


def test_the_writer_can_write_and_cannot_change_tables(small_catalogue: Path) -> None:
    with as_role("matinee_writer") as session:
        session.execute("UPDATE facet SET movies = movies")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("ALTER TABLE facet ADD COLUMN more int")


def test_the_reader_is_read_only_by_a_setting_of_its_own_too(small_catalogue: Path) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        (settings,) = session.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'matinee_reader'").fetchone() or ([],)

    assert "default_transaction_read_only=on" in settings


def test_two_who_migrate_at_once_wait_for_each_other(empty_database: str, tmp_path: Path) -> None:
    words = [*MATINEE, "migrate", "--json"]
    both = [
        subprocess.Popen(words, env=environment(tmp_path / name), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    said = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("catalogue.0001_initial" in out.decode() for out, _ in said) == [False, True]


def test_a_table_that_somebody_holds_is_told_and_the_next_try_goes_on(small_catalogue: Path) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as owner:
        owner.execute("DELETE FROM django_migrations WHERE app = 'catalogue' AND name >= '0004'")
        owner.execute("DROP INDEX document_runtime")
        owner.execute("ALTER TABLE movie_facet DROP COLUMN title_key")
        owner.execute("DROP TABLE movie_popularity")
        owner.execute("DROP INDEX document_added")
        owner.execute("ALTER TABLE api_key DROP COLUMN quota")
        owner.execute("DROP TABLE sign_in_attempt")
        owner.execute("ALTER TABLE log_head DROP COLUMN folding, DROP COLUMN folded_position")
        owner.execute("ALTER TABLE facet DROP CONSTRAINT facet_name_once")
        owner.execute("DROP INDEX facet_fold")
        owner.execute("ALTER TABLE facet ADD CONSTRAINT facet_once UNIQUE (kind, name_fold)")
    with psycopg.connect(os.environ["DATABASE_URL"]) as somebody:
        somebody.execute("LOCK TABLE movie_document IN ROW EXCLUSIVE MODE")
        held = matinee(small_catalogue, "migrate")
    free = matinee(small_catalogue, "migrate")

    assert (held.returncode, free.returncode) == (2, 0)
    assert "lock timeout" in held.stderr
    assert "run `matinee migrate` again" in held.stderr


def test_a_server_that_is_not_there_and_a_database_that_is_not_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert INSTANCE is not None
    missing = matinee(tmp_path, "migrate", DATABASE_URL=INSTANCE.url("no_such_database"))
    nobody = matinee(tmp_path, "migrate", DATABASE_URL="postgresql://nobody@127.0.0.1:1/matinee")

    assert (missing.returncode, nobody.returncode) == (2, 2)
    assert 'database "no_such_database" does not exist' in missing.stderr
    assert "Check DATABASE_URL, that the server runs" in nobody.stderr


def test_a_database_of_another_program_is_refused_and_left_as_it_is(empty_database: str, tmp_path: Path) -> None:
    with psycopg.connect(empty_database) as session:
        session.execute("CREATE TABLE recipe (name text)")

    refused = matinee(tmp_path, "migrate")

    assert refused.returncode == 2
    assert "holds tables of another program; it was left as it is" in refused.stderr

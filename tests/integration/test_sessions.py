"""Sessions state what they rely on: no variable and no default of a server, database or role changes an answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from matinee import config as configuration
from matinee.write import batches
from tests import postgres
from tests.client import Client
from tests.conftest import INSTANCE
from tests.movies import record
from tests.processes import MATINEE, environment, matinee

HOSTILE_VARIABLES = {
    "PGCLIENTENCODING": "LATIN1", "PGTZ": "Asia/Tokyo", "PGDATESTYLE": "SQL, DMY", "PGGEQO": "off", "PGAPPNAME": "other",
    "PGOPTIONS": "-c search_path=nowhere -c enable_indexscan=off -c extra_float_digits=-15 -c bytea_output=escape",
    "TZ": "Asia/Kathmandu", "LC_ALL": "POSIX", "LANG": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii",
    "PYTHONCOERCECLOCALE": "0",
}  # fmt: skip
HOSTILE_DEFAULTS = {
    "client_encoding": "LATIN1", "timezone": "Asia/Tokyo", "datestyle": "SQL, DMY", "intervalstyle": "sql_standard",
    "extra_float_digits": "-15", "bytea_output": "escape", "search_path": "nowhere", "standard_conforming_strings": "off",
    "escape_string_warning": "off", "default_transaction_isolation": "serializable", "statement_timeout": "1",
    "lock_timeout": "1", "idle_session_timeout": "1", "idle_in_transaction_session_timeout": "1", "enable_nestloop": "off",
    "enable_indexscan": "off", "plan_cache_mode": "force_generic_plan", "gin_fuzzy_search_limit": "1",
    "default_transaction_deferrable": "on", "transform_null_equals": "on", "array_nulls": "off", "row_security": "on",
}  # fmt: skip
READS = (
    "/v1/movies/1", "/v1/movies", "/v1/movies?sort=title", "/v1/movies?sort=-title", "/v1/movies?sort=-year&genre=Drama",
    "/v1/search?q=%E3%83%91%E3%83%91", "/v1/search?q=%C3%A9t%C3%A9", "/v1/suggest?q=ali",
    "/v1/suggest?q=%E3%83%91", "/v1/changes?since=0", "/v1/genres", "/v1/trending",
)  # fmt: skip
on_postgres = pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: SQLite's file has no defaults of a server")


def answers(home: Path) -> list[tuple[int, bytes]]:
    """Return what each of READS answers."""
    with Client(configuration.load(home=home)) as client:
        return [(reply.status_code, reply.content) for reply in map(client.get, READS)]


def set_hostile_defaults(url: str) -> None:
    """Give a database and its role defaults that no program expects."""
    assert INSTANCE is not None
    name = conninfo_to_dict(url)["dbname"]
    for setting, value in HOSTILE_DEFAULTS.items():
        INSTANCE.run(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        INSTANCE.run(f"ALTER ROLE postgres IN DATABASE {name} SET {setting} = '{value}'")


@pytest.fixture
def many_scripts(small_catalogue: Path) -> Path:
    """Return a catalogue with titles of several scripts."""
    titles = ("パパ", "Été", "ДОМ", "Zażółć")
    batches.write([record(line, title=title, year=1999) for line, title in enumerate(titles, start=1)], "tests")
    return small_catalogue


@on_postgres
def test_no_default_of_a_database_or_role_changes_an_answer_or_refuses_a_write(
    many_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connections

    before = answers(many_scripts)
    set_hostile_defaults(os.environ["DATABASE_URL"])
    for name, value in HOSTILE_VARIABLES.items():
        monkeypatch.setenv(name, value)
    connections.close_all()  # the writer's session begins anew

    assert [status for status, _ in before] == [200] * len(READS)
    assert answers(many_scripts) == before
    with Client(configuration.load(home=many_scripts)) as client:
        written = client.write("POST", "/v1/movies", {"title": "Ночь"})
        assert (written.status_code, client.titles("/v1/search?q=ночь")) == (201, ["Ночь"])


def test_commands_write_the_same_bytes_in_a_hostile_environment(many_scripts: Path, tmp_path: Path) -> None:
    commands = (("export", "ndjson"), ("get", "/v1/search?q=パパ"))
    before = [matinee(many_scripts, *command).stdout.encode() for command in commands]
    if postgres.wanted():
        set_hostile_defaults(os.environ["DATABASE_URL"])

    hostile = environment(many_scripts) | HOSTILE_VARIABLES
    after = [
        subprocess.run([*MATINEE, *command], env=hostile, capture_output=True, timeout=120, check=True).stdout
        for command in commands
    ]

    assert after == before
    assert "パパ".encode() in before[0]
    exported = tmp_path / "all.ndjson"
    exported.write_bytes(before[0])
    imported = subprocess.run(
        [*MATINEE, "import", "ndjson", str(exported)], env=hostile, capture_output=True, timeout=120, check=False
    )
    assert (imported.returncode, b"0 added, 0 changed, 16 unchanged" in imported.stderr) == (0, True), imported.stderr


@on_postgres
def test_doctor_names_a_setting_that_loses_acknowledged_writes(small_catalogue: Path) -> None:
    assert INSTANCE is not None
    name = conninfo_to_dict(os.environ["DATABASE_URL"])["dbname"]
    INSTANCE.run(f"ALTER DATABASE {name} SET synchronous_commit = off")

    done = matinee(small_catalogue, "doctor")

    assert "synchronous_commit is off: a crash loses acknowledged writes" in done.stdout

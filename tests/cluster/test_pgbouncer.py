"""Everything works behind a real PgBouncer in transaction mode: many clients over two sessions, and a follower behind it too.

What no session of PgBouncer's may be left with is looked at as well: a prepared statement, a lock, a wait that nobody ends.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection

from matinee.ops.postgres import PostgresNode
from matinee.ops.processes import free_port
from matinee.storage.writer import Leader
from matinee.write import keys
from tests import postgres
from tests.cluster import load as loads
from tests.cluster.catalogue_file import ask, contradictions
from tests.cluster.load import Load
from tests.conftest import INSTANCE
from tests.integration.admin_client import MOVIES, Page, with_typed
from tests.pgbouncer import PgBouncer, transaction_mode
from tests.processes import Server, eventually, matinee, start_server

pytestmark = pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: PgBouncer stands in front of nothing else")
SESSIONS = 2
READS = ["/v1/movies/1", "/v1/movies?genre=Sci-Fi&sort=-year&limit=2", "/v1/search?q=sigourney"]


@pytest.fixture
def bouncer(small_catalogue: Path) -> Iterator[PgBouncer]:
    """Return a PgBouncer in front of the small catalogue."""
    with transaction_mode({"movies": os.environ["DATABASE_URL"]}, SESSIONS) as running:
        yield running


def through(bouncer: PgBouncer, **more: str) -> dict[str, str]:
    """Return the settings of whoever works through PgBouncer."""
    # Nothing is kept of answers, so that each read goes through it.
    return {"DATABASE_URL": bouncer.url("movies"), "MATINEE_PGBOUNCER": "true", "MATINEE_LOCAL_CACHE_BYTES": "0", **more}


@pytest.fixture
def server(small_catalogue: Path, bouncer: PgBouncer) -> Iterator[Server]:
    """Return a server over the small catalogue, behind PgBouncer."""
    with start_server(small_catalogue, **through(bouncer)) as running:
        yield running


@pytest.fixture
def follower(small_catalogue: Path) -> Iterator[PostgresNode]:
    """Return a follower of the tests' instance."""
    assert INSTANCE is not None
    leader = INSTANCE.node
    node = PostgresNode("bounced", INSTANCE.folder / "bounced", free_port(), leader.password, leader.settings)
    slot = f"FROM pg_replication_slots WHERE slot_name = '{node.slot}'"
    try:
        node.follow(leader)
        node.start()
        yield node
    finally:
        node.delete()
        eventually(lambda: leader.ask(f"SELECT active {slot}"), lambda active: active != "t")
        leader.ask(f"SELECT pg_drop_replication_slot(slot_name) {slot}")


@pytest.fixture
def fleet(follower: PostgresNode) -> Iterator[PgBouncer]:
    """Return a PgBouncer in front of the leader, for the role that writes, and of a follower, for the one that reads."""
    assert INSTANCE is not None
    database = os.environ["DATABASE_URL"].rpartition("/")[2]
    for role in ("matinee_writer", "matinee_reader"):
        INSTANCE.run(f"ALTER ROLE {role} PASSWORD 'of the tests'")
    direct = {
        "movies": INSTANCE.node.url(database, "matinee_writer", "of the tests"),
        "followers": follower.url(database, "matinee_reader", "of the tests"),
    }
    with transaction_mode(direct, SESSIONS) as running:
        yield running


def may_write() -> dict[str, str]:
    """Return the header of somebody who may write."""
    return {"authorization": f"Bearer {keys.create('tests', 'write', 'tests').text}"}


def complaints(server: Server, bouncer: PgBouncer) -> list[str]:
    """Return the errors in the server's log, and all but the usual in PgBouncer's."""
    ours = [line for line in server.log.read_text().splitlines() if '"level":"error"' in line or "prepared statement" in line]
    return ours + [line for line in bouncer.log.read_text().splitlines() if " LOG " not in line]


def copies(server: Server) -> dict[str, dict[str, Any]]:
    """Return what the server thinks of each copy, by role."""
    return {line["role"]: line for line in server.get("/readyz").json()["dependencies"] if "role" in line}


def test_many_clients_read_list_search_and_write_over_two_sessions(server: Server, bouncer: PgBouncer) -> None:
    authorization = may_write()
    with httpx.Client(base_url=server.url, timeout=20) as client, ThreadPoolExecutor(16) as clients:
        before = [client.get(path).json() for path in READS]

        def once(number: int) -> tuple[int, bool]:
            if number % 10 == 0:
                written = {"title": f"Western {number}", "genres": ["Western"]}
                return client.post("/v1/movies", json=written, headers=authorization).status_code, True
            read = client.get(READS[number % 3])
            return read.status_code, read.json() == before[number % 3]

        answers = Counter(clients.map(once, range(600)))
        westerns = client.get("/v1/movies?genre=Western&limit=100").json()["items"]

    assert answers == {(200, True): 540, (201, True): 60}
    assert {item["title"] for item in westerns} == {f"Western {number}" for number in range(0, 600, 10)}
    assert len(bouncer.show("clients")) > len(bouncer.show("servers")) == SESSIONS
    assert (copies(server)["leader"]["retries"], complaints(server, bouncer)) == (0, [])
    assert contradictions(server.home) == []


def test_what_was_written_is_read_at_once_and_after_every_change(server: Server, bouncer: PgBouncer) -> None:
    authorization = may_write()
    seen = []
    with httpx.Client(base_url=server.url, headers=authorization, timeout=20) as client:
        for year in range(1980, 1990):  # the same statements again and again: a driver prepares them at the fifth time
            stated = {"if-match": client.get("/v1/movies/1").headers["etag"]}
            written = client.patch("/v1/movies/1", json={"year": year}, headers=stated)
            position = {"matinee-min-position": written.headers["matinee-position"]}
            seen.append(client.get("/v1/movies/1", headers=position).json()["year"])
        gone = client.delete("/v1/movies/2", headers={"if-match": client.get("/v1/movies/2").headers["etag"]})
        log = client.get("/v1/changes?limit=100").json()["items"]

    assert seen == list(range(1980, 1990))
    assert gone.status_code == 204
    assert [item["kind"] for item in log][-11:] == ["updated"] * 10 + ["deleted"]
    assert complaints(server, bouncer) == []


def test_an_admin_signs_in_searches_and_saves_a_movie(server: Server, bouncer: PgBouncer) -> None:
    User.objects.create_superuser("ann", password="a password of the tests")
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=20) as client:

        def send(path: str, form: str, **typed: str) -> Page:
            shown = page(client.get(path)).form(form)
            return page(client.post(path, data=with_typed(shown, **typed), headers={"referer": server.url + path}))

        start = send("/admin/login/?next=/admin/", "login-form", username="ann", password="a password of the tests")
        found = page(client.get(f"{MOVIES}?q=blade"))
        saved = send(f"{MOVIES}3/change/", "movie_form", title="Blade Runner: The Final Cut")

    assert "Log out" in start.words
    assert found.rows() == ["Blade Runner"]
    assert (saved.status, "was changed successfully" in saved.words) == (200, True)
    assert server.get("/v1/movies/3").json()["title"] == "Blade Runner: The Final Cut"
    assert complaints(server, bouncer) == []


def page(answer: httpx.Response) -> Page:
    return Page(answer.status_code, answer.text, answer.headers)


def test_an_import_and_an_export_pass_through_it(small_catalogue: Path, bouncer: PgBouncer) -> None:
    films = b"".join(b'{"title": "Film %d", "genres": ["Drama"], "cast": ["Actor %d"]}\n' % (n, n % 7) for n in range(600))

    brought_in = matinee(small_catalogue, "import", "ndjson", "-", stdin=films, **through(bouncer))
    exported = matinee(small_catalogue, "export", "ndjson", **through(bouncer))
    direct = matinee(small_catalogue, "export", "ndjson")

    assert (brought_in.returncode, exported.returncode) == (0, 0), brought_in.stderr + exported.stderr
    assert len(exported.stdout.splitlines()) == 612
    assert exported.stdout == direct.stdout
    assert contradictions(small_catalogue) == []


def test_doctor_and_status_find_all_well(server: Server, bouncer: PgBouncer) -> None:
    made = matinee(server.home, "user", "create-admin", **through(bouncer))
    doctor = matinee(server.home, "doctor", **through(bouncer))
    status = matinee(server.home, "status", "--url", server.url)

    assert (made.returncode, doctor.returncode, status.returncode) == (0, 0, 0), doctor.stdout
    assert "11 of PgBouncer's max_client_conn at the leader, for each server; 9 at each follower" in doctor.stdout
    assert status.stdout.splitlines()[0] == f"{server.url}: ready"
    assert f"127.0.0.1:{bouncer.port}\tleader\thealthy" in status.stdout


def test_a_write_that_is_given_up_leaves_nobody_waiting(small_catalogue: Path, bouncer: PgBouncer) -> None:
    authorization = may_write()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with start_server(small_catalogue, **through(bouncer, MATINEE_WRITE_TIMEOUT_MS="500")) as server:

        def write() -> int:
            return httpx.post(f"{server.url}/v1/movies", json={"title": "Late"}, headers=authorization, timeout=10).status_code

        with psycopg.connect(os.environ["DATABASE_URL"]) as somebody:
            somebody.execute("SELECT FROM log_head FOR UPDATE")
            refused = [write() for _ in range(SESSIONS + 1)]
            left = eventually(lambda: ask(small_catalogue, waiting), lambda rows: rows == [(0,)])
        written = eventually(write, lambda status: status == 201)

    assert (refused, left, written) == ([503] * (SESSIONS + 1), [(0,)], 201)


def test_the_limits_of_a_write_end_with_its_transaction(small_catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "BEHIND_PGBOUNCER", True)
    monkeypatch.setattr(settings, "WRITE_TIMEOUT_S", 0.7)

    with Leader().transaction("tests"):
        during = [shown(name) for name in settings.WRITE_LIMITS]
    after = [shown(name) for name in settings.WRITE_LIMITS]

    assert (during, after) == (["700ms"] * 3, ["5s"] * 3)


def shown(name: str) -> str:
    """Return a setting of Django's session."""
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def test_the_schema_is_not_changed_through_it_and_no_lock_stays(small_catalogue: Path, bouncer: PgBouncer) -> None:
    unneeded = matinee(small_catalogue, "migrate", **through(bouncer))
    with psycopg.connect(os.environ["DATABASE_URL"]) as owner:
        owner.execute("DELETE FROM django_migrations WHERE app = 'catalogue' AND name >= '0004'")
    refused = matinee(small_catalogue, "migrate", **through(bouncer))

    assert (unneeded.returncode, unneeded.stderr.endswith("up to date.\n")) == (0, True)
    assert refused.returncode == 2
    assert "Run `matinee migrate` with DATABASE_URL straight to the leader" in refused.stderr
    assert ask(small_catalogue, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_who_forgot_the_setting_is_told_of_it(small_catalogue: Path, bouncer: PgBouncer) -> None:
    refused = matinee(small_catalogue, "serve", DATABASE_URL=bouncer.url("movies"))

    assert refused.returncode == 2
    assert "That is PgBouncer: set MATINEE_PGBOUNCER=true" in refused.stderr


def test_a_follower_behind_it_is_read_from_and_the_readers_own_settings_hold(small_catalogue: Path, fleet: PgBouncer) -> None:
    role = "SELECT current_user::text, current_setting('transaction_read_only'), current_setting('enable_seqscan')"
    urls = through(fleet, DATABASE_FOLLOWER_URLS=fleet.url("followers"))
    with start_server(small_catalogue, **urls) as server:
        statuses = Counter(server.get(READS[number % 3]).status_code for number in range(30))
        seen = copies(server)
        doctor = matinee(small_catalogue, "doctor", **urls)
        with psycopg.connect(fleet.url("followers"), autocommit=True) as session:
            own = session.execute(role).fetchone()

    assert statuses == {200: 30}
    assert (seen["leader"]["reads"], seen["follower"]["reads"] >= 30) == (0, True)
    assert own == ("matinee_reader", "on", "off")
    assert f"127.0.0.1:{fleet.port}/followers, position " in doctor.stdout
    assert complaints(server, fleet) == []


def test_a_follower_behind_it_is_killed_and_comes_back_and_no_read_fails(
    small_catalogue: Path, fleet: PgBouncer, follower: PostgresNode
) -> None:
    key = keys.create("tests", "write", "tests").text
    urls = through(fleet, DATABASE_FOLLOWER_URLS=fleet.url("followers"))
    with start_server(small_catalogue, **urls) as server, Load(server.url, key, 12) as load:
        eventually(lambda: len(load.seen("write")), lambda writes: writes >= 2)
        follower.send(signal.SIGKILL)
        eventually(lambda: copies(server)["follower"]["status"], lambda status: status == "ejected")
        follower.start()
        eventually(lambda: copies(server)["follower"]["status"], lambda status: status == "healthy", 30)

    assert loads.failed_reads(load) == []
    assert loads.reads_behind_a_shown_position(load) == []
    assert {item.status for item in load.seen("write")} == {201}

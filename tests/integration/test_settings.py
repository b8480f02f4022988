"""Each setting does what its sentence says. (Hosts, origins, keys and draining have tests of their own.)"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from matinee import config as configuration
from tests.client import Client
from tests.cluster.catalogue_file import ask
from tests.processes import eventually, matinee, start_server


@pytest.mark.parametrize("path", ["/v1/movies/1", "/v1/movies", "/v1/search?q=alien", "/v1/genres", "/v1/people/1"])
def test_max_age_s_is_how_long_clients_may_keep_an_answer(small_catalogue: Path, path: str) -> None:
    with Client(configuration.load(home=small_catalogue), max_age_s=60) as client:
        answer = client.get(path)
        known = client.get(path, headers={"if-none-match": answer.headers["etag"]})

    assert answer.headers["cache-control"] == known.headers["cache-control"] == "public, max-age=60, must-revalidate"


def test_max_body_bytes_is_the_largest_body_that_is_taken(catalogue_home: Path) -> None:
    with Client(configuration.load(home=catalogue_home), max_body_bytes=1_024) as client:
        headers = {"authorization": f"Bearer {client.key}", "content-type": "application/json"}
        bodies = [b'{"title":"X"}'.ljust(size) for size in (1_024, 1_025)]
        taken, refused = (client.request("POST", "/v1/movies", content=body, headers=headers) for body in bodies)

    assert (taken.status_code, refused.status_code) == (201, 413)
    assert refused.json()["detail"] == "The body is larger than 1024 bytes; send less, or raise MATINEE_MAX_BODY_BYTES."


def test_read_timeout_ms_is_when_a_read_is_given_up(small_catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x), '', 0 FROM n"
    with Client(configuration.load(home=small_catalogue), read_timeout_ms=100) as client:
        monkeypatch.setitem(client.reader._sql, "genres", endless)
        began_s = time.monotonic()
        given_up = client.get("/v1/genres")
        took_s = time.monotonic() - began_s
        next_one = client.get("/v1/movies/1")

    assert (given_up.status_code, given_up.headers["retry-after"], next_one.status_code) == (503, "1", 200)
    assert 0.1 <= took_s < 5


def test_import_batch_rows_is_how_many_movies_are_one_transaction(catalogue_home: Path) -> None:
    films = b"".join(b'{"title":"Film %d"}\n' % number for number in range(10))

    done = matinee(catalogue_home, "import", "ndjson", "-", stdin=films, MATINEE_IMPORT_BATCH_ROWS="4")

    assert done.returncode == 0, done.stderr
    batches = ask(catalogue_home, "SELECT count(*) FROM change GROUP BY at ORDER BY min(position)")
    assert batches == [(4,), (4,), (2,)]


def test_database_url_is_where_the_catalogue_lies(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "films.sqlite3"

    made = matinee(tmp_path / "home", "migrate", DATABASE_URL=f"sqlite:///{path}")
    seen = matinee(tmp_path / "home", "get", "/readyz", DATABASE_URL=f"sqlite:///{path}")

    assert (made.returncode, json.loads(seen.stdout)["status"]) == (0, "ready")
    assert path.exists()
    assert not (tmp_path / "home" / "catalogue.sqlite3").exists()


def test_the_log_goes_to_its_file_and_holds_what_its_settings_say(small_catalogue: Path, tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    with start_server(small_catalogue, MATINEE_LOG_FILE=str(path)) as server:
        server.get("/v1/movies/1")
        eventually(path.read_text, lambda text: "/v1/movies/1" in text)
    written = path.read_text()
    with start_server(small_catalogue, MATINEE_LOG_FILE=str(path), MATINEE_ACCESS_LOG="off") as server:
        server.get("/v1/movies/1")

    assert [line for line in written.splitlines() if json.loads(line)["event"] != "request"] == []
    assert path.read_text() == written
    assert "/v1/movies/1" not in server.log.read_text()

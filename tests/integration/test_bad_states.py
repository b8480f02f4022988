"""Bad states: each is told in a sentence that says what to do, before it does harm, and what can go on goes on."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from matinee import config as configuration
from tests.client import Client
from tests.conftest import catalogue_in
from tests.processes import eventually, free_port, matinee


@pytest.fixture
def home(empty_catalogue: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a data folder with an empty catalogue."""
    home = tmp_path / "home"
    home.mkdir()
    with catalogue_in(home, empty_catalogue):
        yield home


def change(path: Path, *statements: str) -> None:
    """Change a database behind the program's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for statement in statements:
            file.execute(statement)


def serve(home: Path) -> tuple[int, str]:
    """Start a server that is to refuse; return its exit code and what it said."""
    done = matinee(home, "serve", "--port", str(free_port()))
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_taken_port_is_told_with_another_one(home: Path, command: str) -> None:
    before = (home / "catalogue.sqlite3").read_bytes()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = matinee(home, command, "--port", str(port))

    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on (Address already in use)" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert (home / "catalogue.sqlite3").read_bytes() == before


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
@pytest.mark.parametrize("command", ["serve", "migrate", "get /v1/movies"])
def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, command: str) -> None:
    path = tmp_path / "catalogue.sqlite3"
    change(path, "CREATE TABLE recipe (name TEXT)", "INSERT INTO recipe VALUES ('soup')")
    before = path.read_bytes()

    done = matinee(tmp_path, *command.split(), PORT=str(free_port()))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"matinee: {path} is a database of another program; it was left as it is. "
        "Give MATINEE_HOME another folder, or DATABASE_URL another file.\n"
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk\nbread\n" * 1_000)
    before = path.read_bytes()

    done = [matinee(tmp_path, *words, DATABASE_URL=f"sqlite:///{path}") for words in (("migrate",), ("up", "--no-sample"))]

    assert [one.returncode for one in done] == [2, 2]
    assert all(f"{path} cannot be used as a catalogue (file is not a database)" in one.stderr for one in done)
    assert path.read_bytes() == before


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_no_catalogue_is_told_with_what_makes_one(tmp_path: Path) -> None:
    code, said = serve(tmp_path)

    assert code == 2
    assert said.endswith("make one with `matinee up` or `matinee migrate`.\n")
    assert not (tmp_path / "catalogue.sqlite3").exists()


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_an_old_schema_is_told_with_the_command_that_brings_it_up_to_date(home: Path) -> None:
    newest = "(SELECT max(id) FROM django_migrations WHERE app = 'catalogue')"
    change(home / "catalogue.sqlite3", f"DELETE FROM django_migrations WHERE id = {newest}")

    code, said = serve(home)

    assert code == 2
    assert "catalogue.sqlite3 is old: 1 migrations are missing. Run `matinee migrate`." in said


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_a_newer_schema_is_told_with_upgrade(home: Path) -> None:
    row = "('catalogue', '9999_from_tomorrow', '2030-01-01 00:00:00')"
    change(home / "catalogue.sqlite3", f"INSERT INTO django_migrations (app, name, applied) VALUES {row}")

    code, said = serve(home)
    migrated = matinee(home, "migrate")

    assert code == migrated.returncode == 2
    assert "was made by a newer Matinee (it knows catalogue.9999_from_tomorrow); upgrade this program." in said
    assert "upgrade this program." in migrated.stderr


def test_a_data_folder_that_cannot_be_made_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    home = tmp_path / "file" / "home"

    done = [matinee(home, *words) for words in (("up", "--no-sample"), ("migrate",))]

    assert [one.returncode for one in done] == [2, 2]
    assert all(f"The data folder {home} cannot be used (Not a directory)." in one.stderr for one in done)
    assert all("MATINEE_HOME=/path/to/folder" in one.stderr for one in done)


def test_production_without_its_secrets_tells_both_at_once(home: Path) -> None:
    done = matinee(home, "serve", MATINEE_ENV="production")

    assert done.returncode == 2
    assert "needs SECRET_KEY, 32 characters or more" in done.stderr
    assert "needs ALLOWED_HOSTS" in done.stderr


def test_a_misspelt_setting_is_told_with_the_one_that_was_meant(home: Path) -> None:
    done = matinee(home, "serve", MATINEE_PUBLIC_READ="false")

    assert done.returncode == 2
    assert "MATINEE_PUBLIC_READ is no setting; did you mean MATINEE_PUBLIC_READS?" in done.stderr


def test_a_log_file_that_cannot_be_written_is_told_before_a_process_ends_of_it(home: Path) -> None:
    done = matinee(home, "serve", "--port", str(free_port()), MATINEE_LOG_FILE="/dev/null/matinee.log")

    assert done.returncode == 2
    assert (
        done.stderr
        == "matinee: MATINEE_LOG_FILE=/dev/null/matinee.log cannot be written (Not a directory); choose another file.\n"
    )


def test_an_address_that_is_none_is_told_with_the_option(home: Path) -> None:
    done = matinee(home, "serve", "--host", "no.such.host.invalid")

    assert done.returncode == 2
    assert done.stderr.startswith("matinee: no.such.host.invalid:8000 cannot be listened on: 'no.such.host.invalid' does not ")
    assert done.stderr.endswith("Choose another address with --host, or another port with --port.\n")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00"])
def test_a_kept_secret_that_is_none_is_told_and_nothing_is_signed_with_a_known_one(home: Path, content: bytes) -> None:
    (home / "secret_key").write_bytes(content)

    code, said = serve(home)

    assert code == 2
    assert said.startswith(
        f"matinee: {home / 'secret_key'} is there and holds no secret key; delete it, and a new one is made."
    )
    assert (home / "secret_key").read_bytes() == content


READS = ["/v1/movies/1", "/v1/movies", "/v1/search?q=alien", "/v1/genres", "/v1/changes", "/v1/suggest?q=al"]


def assert_unavailable(answer: httpx.Response, slug: str) -> None:
    """Assert that an answer asks to try again shortly, in the one shape of errors."""
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json"), answer.text
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"].endswith(f"/docs/errors/{slug}")


@contextmanager
def away(home: Path) -> Iterator[None]:
    """Take the catalogue's files away for a while."""
    aside = home / "aside"
    aside.mkdir()
    for path in home.glob("catalogue.sqlite3*"):
        path.rename(aside / path.name)
    yield
    for path in aside.iterdir():
        path.rename(home / path.name)


@pytest.fixture
def strict(small_catalogue: Path) -> Iterator[Client]:
    """Return a service that gives no old answer when nothing can be read."""
    with Client(configuration.load(home=small_catalogue), stale_if_error_s=0) as client:
        yield client


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_a_catalogue_that_disappears_is_told_and_served_again_when_it_is_back(strict: Client, small_catalogue: Path) -> None:
    assert strict.get("/readyz").status_code == 200
    with away(small_catalogue):
        eventually(lambda: strict.get("/v1/movies/1").status_code, lambda status: status == 503, deadline_s=3)
        answers = [strict.get(path) for path in READS]
        unready = strict.get("/readyz")

    for answer in answers:
        assert_unavailable(answer, "no-reader-available")
    assert unready.status_code == 503
    assert unready.json()["reason"].startswith("The catalogue cannot be read: ")
    assert [strict.get(path).status_code for path in [*READS, "/readyz"]] == [200] * 7


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_a_catalogue_that_is_restored_under_a_server_is_the_one_that_is_read(movies: Client, small_catalogue: Path) -> None:
    backup, path = small_catalogue / "backup.sqlite3", small_catalogue / "catalogue.sqlite3"
    change(path, f"VACUUM INTO '{backup}'")
    change(backup, "UPDATE movie_document SET body = CAST('{}' AS BLOB) WHERE movie_id = 1")
    assert movies.get("/v1/movies/1").json()["title"] == "Alien"

    for extra in ("catalogue.sqlite3-wal", "catalogue.sqlite3-shm"):
        (small_catalogue / extra).unlink(missing_ok=True)
    backup.replace(path)

    assert eventually(lambda: movies.get("/v1/movies/1").content, lambda body: body == b"{}", deadline_s=3) == b"{}"
    assert movies.get("/readyz").status_code == 200


@pytest.fixture
def locked(movies: Client, small_catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client whose catalogue is held by another writer who does not let go."""
    from django.db import connections

    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "timeout", 0.05)
    assert movies.key
    with closing(sqlite3.connect(small_catalogue / "catalogue.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield movies


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_a_write_to_a_locked_catalogue_is_put_off_and_reads_go_on(locked: Client) -> None:
    film = {"title": "Put off"}
    refused = [
        locked.write("POST", "/v1/movies", film),
        locked.write("POST", "/v1/movies", film, idempotency_key="once"),
        locked.write("PATCH", "/v1/movies/1", {"year": 1980}, if_match="*"),
        locked.write("DELETE", "/v1/movies/1", if_match="*"),
    ]

    for answer in refused:
        assert_unavailable(answer, "leader-unavailable")
    assert [locked.get(path).status_code for path in [*READS, "/readyz"]] == [200] * 7
    assert locked.get("/v1/movies/1").json()["year"] == 1979


def test_a_write_goes_through_once_the_lock_is_gone(movies: Client, small_catalogue: Path) -> None:
    assert movies.key
    with closing(sqlite3.connect(small_catalogue / "catalogue.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")

        written = movies.write("POST", "/v1/movies", {"title": "In time"})

    assert (written.status_code, written.json()["id"]) == (201, 13)


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_a_write_after_a_restore_goes_into_the_file_that_is_there_now(movies: Client, small_catalogue: Path) -> None:
    path = small_catalogue / "catalogue.sqlite3"
    movies.write("PATCH", "/v1/movies/1", {"year": 1980}, if_match="*", content_type="application/json")
    with closing(sqlite3.connect(path)) as file:
        file.execute("VACUUM INTO ?", (str(small_catalogue / "backup"),))
    for left in (f"{path}-wal", f"{path}-shm"):
        Path(left).unlink(missing_ok=True)
    (small_catalogue / "backup").replace(path)

    written = movies.write("PATCH", "/v1/movies/1", {"year": 1981}, if_match="*", content_type="application/json")

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT year FROM movie WHERE id = 1").fetchone() == (1981,)
    assert written.status_code == 200


@pytest.mark.sqlite_only("a file is looked at, taken away or damaged")
def test_a_write_without_a_file_is_put_off_and_makes_no_empty_one(movies: Client, small_catalogue: Path) -> None:
    movies.write("PATCH", "/v1/movies/1", {"year": 1980}, if_match="*", content_type="application/json")
    with away(small_catalogue):
        answer = movies.write("PATCH", "/v1/movies/1", {"year": 1981}, if_match="*", content_type="application/json")

        assert (answer.status_code, (small_catalogue / "catalogue.sqlite3").exists()) == (503, False)

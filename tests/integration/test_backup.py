"""Backups of the SQLite catalogue: taken while it is written to, whole or not there, and put back without losing what was."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from matinee.errors import DatabaseError, LeaderUnavailable
from matinee.storage import backups, leader_link
from matinee.write import movies
from tests.cluster import catalogue_file
from tests.cluster.small_disk import small_disk
from tests.movies import SMALL_CATALOGUE
from tests.processes import MATINEE, end, environment, eventually, matinee, start_server

pytestmark = pytest.mark.sqlite_only("a file is copied; PostgreSQL's base backups stand in test_base_backup.py")


def backup(home: Path, *words: str) -> dict[str, Any]:
    """Take a backup, and return what is told of it."""
    done = matinee(home, "backup", "--json", *words)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def refusal(home: Path, *words: str) -> str:
    """Return how a command refuses; nothing is left of it, and the catalogue is as it was."""
    before = (home / "catalogue.sqlite3").read_bytes()
    done = matinee(home, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert list(home.rglob(".*.part*")) == []
    assert (home / "catalogue.sqlite3").read_bytes() == before
    return done.stderr


def export(home: Path) -> str:
    """Return the catalogue as `export ndjson` writes it."""
    return matinee(home, "export", "ndjson").stdout


def close() -> None:
    """Close this process's own connections: who restores wants the catalogue for itself."""
    from django.db import connections

    connections.close_all()


@pytest.fixture
def closed(small_catalogue: Path) -> Path:
    """Return a data folder with the small catalogue, which nobody has open."""
    close()
    return small_catalogue


@contextmanager
def importing(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Import films without end, in a process of its own."""
    process = subprocess.Popen(
        [*MATINEE, "import", "ndjson", "-"], env=environment(home, MATINEE_IMPORT_BATCH_ROWS="5"), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ended = threading.Event()
    feeder = threading.Thread(target=feed, args=(process, ended))
    feeder.start()
    try:
        yield process
    finally:
        ended.set()
        end(process)
        feeder.join(10)


def feed(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    """Write films to a process until one of the two has ended."""
    assert process.stdin is not None
    number = 0
    try:
        while not ended.is_set():
            number += 1
            film = {"title": f"Film {number}", "overview": f"{number} " * 500, "directors": [f"Somebody {number % 50}"]}
            process.stdin.write(json.dumps(film).encode() + b"\n")
        process.stdin.close()
    except (BrokenPipeError, ValueError):
        pass


def test_a_backup_under_an_import_is_a_catalogue_of_one_moment(closed: Path, tmp_path: Path) -> None:
    with importing(closed) as importer:
        eventually(lambda: catalogue_file.position(closed), lambda position: position > 200, deadline_s=60)
        told = [backup(closed, str(tmp_path / name)) for name in ("one", "two")]
        assert importer.poll() is None
        eventually(lambda: catalogue_file.position(closed), lambda position: position > told[1]["position"], deadline_s=60)

    copy = tmp_path / "copy"
    copy.mkdir()
    assert 200 < told[0]["position"] < told[1]["position"]
    for report in told:
        assert matinee(copy, "restore", report["path"]).returncode == 0
        assert catalogue_file.position(copy) == report["position"] == catalogue_file.movies(copy)
        assert catalogue_file.contradictions(copy) == []
    assert catalogue_file.contradictions(closed) == []


def test_a_backup_is_of_the_moment_at_which_it_began(
    small_catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def write(done_bytes: int, all_bytes: int) -> None:
        if len(written) < 10:
            written.append(movies.patch(1, {"tagline": f"At {done_bytes} of {all_bytes}"}, "tests", "*").position)

    monkeypatch.setattr(backups, "_STEP_PAGES", 5)
    found = backups.take(small_catalogue / "catalogue.sqlite3", tmp_path / "b.sqlite3", write)

    assert (found.position, written) == (12, list(range(13, 23)))
    assert catalogue_file.contradictions(small_catalogue) == []


def test_a_backup_tells_where_it_is_and_is_for_its_owner_alone(closed: Path) -> None:
    done = matinee(closed, "backup")

    (path,) = (closed / "backups").iterdir()
    assert (done.returncode, done.stdout) == (0, "")
    assert f" is in {path}: {path.stat().st_size:,} bytes, position 12, checked, " in done.stderr
    assert (path.stat().st_mode & 0o777, path.name[:10], path.name[-9:]) == (0o600, "catalogue-", "Z.sqlite3")


def test_a_restored_catalogue_is_exported_as_the_same_bytes(closed: Path, tmp_path: Path) -> None:
    path = backup(closed, str(tmp_path / "b.sqlite3"))["path"]
    before = export(closed)
    movies.patch(1, {"tagline": "changed later"}, "tests", "*")
    close()
    changed = export(closed)

    done = matinee(closed, "restore", path)

    assert (done.returncode, done.stdout) == (0, "")
    assert "is restored, from position 13 to 12, in " in done.stderr
    assert (export(closed) == before, changed == before, len(before.splitlines())) == (True, False, len(SMALL_CATALOGUE))


def test_a_restore_keeps_the_catalogue_that_was_there(closed: Path, tmp_path: Path) -> None:
    path = backup(closed, str(tmp_path / "b.sqlite3"))["path"]
    movies.patch(1, {"tagline": "only here"}, "tests", "*")
    close()
    newer = export(closed)

    told = json.loads(matinee(closed, "restore", path, "--json").stdout)
    back = json.loads(matinee(closed, "restore", told["kept"], "--json").stdout)

    assert Path(told["kept"]).parent == closed
    assert (told["position_before"], told["position"], told["missing_migrations"]) == (13, 12, 0)
    assert (back["position_before"], back["position"], export(closed)) == (12, 13, newer)


def test_a_backup_is_restored_where_there_is_no_catalogue(closed: Path, tmp_path: Path) -> None:
    path, empty = backup(closed, str(tmp_path / "b.sqlite3"))["path"], tmp_path / "another" / "home"

    done = matinee(empty, "restore", path)

    assert (done.returncode, export(empty)) == (0, export(closed))
    assert "is restored, at position 12, in " in done.stderr
    assert "is kept" not in done.stderr


def test_an_interrupted_loading_of_the_sample_does_not_go_on_in_a_restored_catalogue(closed: Path) -> None:
    path = backup(closed)["path"]
    (closed / "sample-is-loading").touch()

    assert matinee(closed, "restore", path).returncode == 0
    assert not (closed / "sample-is-loading").exists()


@pytest.mark.parametrize("damage", ["cut", "overwritten", "of another program", "no file at all", "another head"])
def test_what_is_no_whole_catalogue_is_not_restored(closed: Path, tmp_path: Path, damage: str) -> None:
    path = Path(backup(closed, str(tmp_path / "b.sqlite3"))["path"])
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as file:
        if damage == "of another program":
            file.execute("PRAGMA application_id = 7")
        if damage == "another head":
            file.execute("UPDATE log_head SET position = 99")
            file.commit()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    if damage == "overwritten":
        path.write_bytes(whole[:8192] + b"\xff" * 65536 + whole[8192 + 65536 :])
    if damage == "no file at all":
        path.write_text("not a database " * 1000)

    said = refusal(closed, "restore", str(path))

    remedy = (
        "name a file that `matinee backup` made." if damage == "of another program" else "another copy, or restore an older"
    )
    assert said.startswith(f"matinee: {path} is ")
    assert remedy in said


def test_a_newer_matinees_backup_is_not_restored(closed: Path, tmp_path: Path) -> None:
    path = Path(backup(closed, str(tmp_path / "b.sqlite3"))["path"])
    with closing(sqlite3.connect(path)) as file:
        file.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('catalogue', '9999_later', '2030-01-01')")
        file.commit()

    said = refusal(closed, "restore", str(path))

    assert "was made by a newer Matinee (it knows catalogue.9999_later); upgrade this program." in said


def test_an_older_matinees_backup_is_restored_and_says_to_migrate(closed: Path, tmp_path: Path) -> None:
    path = Path(backup(closed, str(tmp_path / "b.sqlite3"))["path"])
    with closing(sqlite3.connect(path)) as file:
        file.execute("DELETE FROM django_migrations WHERE id = (SELECT MAX(id) FROM django_migrations WHERE app = 'catalogue')")
        file.commit()

    done = matinee(closed, "restore", str(path))

    assert done.returncode == 0
    assert "Its schema is old: 1 migrations are missing. Run `matinee migrate`." in done.stderr


def test_a_backup_does_not_take_the_place_of_a_device_or_a_pipe(closed: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    assert "is a device, a pipe or a socket" in refusal(closed, "backup", str(tmp_path / "fifo"), "--force")
    assert (tmp_path / "fifo").is_fifo()


def test_a_backup_takes_no_ones_place_unless_it_is_forced(closed: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.sqlite3"
    target.write_text("dear to somebody")

    said = refusal(closed, "backup", str(target))
    kept = target.read_text()
    forced = backup(closed, str(target), "--force")

    assert f"{target} is there already; name another, or take its place with --force." in said
    assert (kept, forced["position"]) == ("dear to somebody", 12)
    assert "belongs to the catalogue itself" in refusal(closed, "backup", str(closed / "catalogue.sqlite3"), "--force")
    assert "is the catalogue itself" in refusal(closed, "restore", str(closed / "catalogue.sqlite3"))


def test_a_folder_as_target_gets_a_file_with_the_usual_name(closed: Path, tmp_path: Path) -> None:
    path = Path(backup(closed, str(tmp_path))["path"])

    assert (path.parent, path.name.startswith("catalogue-"), path.is_file()) == (tmp_path, True, True)


@pytest.mark.parametrize("words", ["backup ~no-such-user-here/x", "restore . --into ~no-such-user-here/x"])
def test_a_target_in_the_home_folder_of_no_user_is_told_in_a_sentence(closed: Path, words: str, tmp_path: Path) -> None:
    (tmp_path / "matinee.json").write_text("{}", encoding="utf-8")
    told = matinee(closed, *words.replace(" . ", f" {tmp_path} ").split())

    assert (told.returncode, "~no-such-user-here/x cannot be used (Could not determine" in told.stderr) == (2, True)


def test_only_the_newest_backups_are_kept_and_nothing_else_is_removed(closed: Path) -> None:
    folder = closed / "backups"
    folder.mkdir()
    for name in ("catalogue-20200101T000000Z.sqlite3", "catalogue-20210101T000000Z.sqlite3", "catalogue-mine.sqlite3", "a"):
        (folder / name).touch()

    told = backup(closed, "--keep", "2")

    assert told["removed"] == [str(folder / "catalogue-20200101T000000Z.sqlite3")]
    names = {"catalogue-20210101T000000Z.sqlite3", "catalogue-mine.sqlite3", "a", Path(told["path"]).name}
    assert {path.name for path in folder.iterdir()} == names
    assert "--keep is about MATINEE_HOME/backups" in refusal(closed, "backup", "elsewhere", "--keep", "2")


def test_a_catalogue_that_a_server_uses_is_not_replaced(closed: Path, tmp_path: Path) -> None:
    path = backup(closed, str(tmp_path / "b.sqlite3"))["path"]
    with start_server(closed) as server:
        done = matinee(closed, "restore", path)

        assert done.returncode == 2
        assert "is in use by process " in done.stderr
        assert "end the server where it was started (Ctrl-C)" in done.stderr
        assert server.get("/v1/movies/1").status_code == 200


def test_a_catalogue_that_somebody_has_open_is_not_replaced(small_catalogue: Path, tmp_path: Path) -> None:
    catalogue = small_catalogue / "catalogue.sqlite3"
    backups.take(catalogue, tmp_path / "b.sqlite3", lambda *_: None)
    kept = small_catalogue / "kept"

    with pytest.raises(DatabaseError, match="is in use; end the server"):
        backups.require_unused(catalogue)
    with pytest.raises(DatabaseError, match="is in use; end the server"):
        backups.restore(tmp_path / "b.sqlite3", catalogue, kept, lambda _: None, lambda *_: None)

    assert (kept.exists(), catalogue_file.contradictions(small_catalogue)) == (False, [])


def test_a_server_goes_on_over_a_catalogue_that_was_replaced_under_it(closed: Path, tmp_path: Path) -> None:
    path = backup(closed, str(tmp_path / "b.sqlite3"))["path"]
    key = json.loads(matinee(closed, "key", "create", "--name", "t", "--scope", "write", "--json").stdout)["key"]
    path = backup(closed, path, "--force")["path"]
    with start_server(closed) as server:
        written = write(server.url, key, {"tagline": "before"})
        shown = server.get("/v1/movies/1").json()["tagline"]
        done = matinee(closed, "restore", path, "--force")
        after = eventually(lambda: server.get("/v1/movies/1").json()["tagline"], lambda tagline: tagline is None, deadline_s=5)
        again = write(server.url, key, {"tagline": "after"})

        assert (written, shown, done.returncode, after, again) == (200, "before", 0, None, 200)
        assert server.get("/v1/movies/1").json()["tagline"] == "after"
    assert catalogue_file.contradictions(closed) == []


def write(url: str, key: str, fields: dict[str, Any]) -> int:
    """Change the first movie through a server; return the status."""
    import httpx

    headers = {"authorization": f"Bearer {key}", "if-match": "*", "content-type": "application/merge-patch+json"}
    return httpx.patch(f"{url}/v1/movies/1", json=fields, headers=headers, timeout=10).status_code


def test_a_damaged_catalogue_is_replaced_and_kept_with_its_log(closed: Path, tmp_path: Path) -> None:
    path, catalogue = backup(closed, str(tmp_path / "b.sqlite3"))["path"], closed / "catalogue.sqlite3"
    before = export(closed)
    for beside in ("-wal", "-shm"):
        catalogue.with_name(catalogue.name + beside).write_bytes(b"torn" * 100)
    catalogue.write_bytes(b"torn" * 5000)

    done = matinee(closed, "restore", path)

    assert (done.returncode, export(closed) == before) == (0, True), done.stderr
    kept = {path.name.partition(".sqlite3")[2]: path.read_bytes()[:4] for path in closed.glob("catalogue-before-*")}
    assert kept == {"": b"torn", "-shm": b"torn"}  # in the log nothing was whole, and SQLite removed it


def test_a_full_disk_is_told_and_nothing_is_left_behind(closed: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", None) as disk:
        if disk is None:
            pytest.skip("this user may not mount a small disk")
        disk.fill()
        said = refusal(closed, "backup", str(disk.folder / "b.sqlite3"))

        assert "There is no room for the copy of " in said
        assert [path.name for path in disk.folder.iterdir()] == ["ballast"]


def test_a_write_that_waited_while_its_file_was_replaced_is_put_off(
    small_catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, kept = small_catalogue / "catalogue.sqlite3", small_catalogue / "kept.sqlite3"
    backups.take(catalogue, tmp_path / "b.sqlite3", lambda *_: None)
    with monkeypatch.context() as between:
        # What comes right after the lock was got.
        between.setattr(leader_link, "limit", lambda _: backups._swap(tmp_path / "b.sqlite3", catalogue, kept))
        with pytest.raises(LeaderUnavailable, match="The catalogue was replaced while this write waited"):
            movies.patch(1, {"tagline": "late"}, "tests", "*")

    assert movies.patch(1, {"tagline": "again"}, "tests", "*").position == 13
    assert catalogue_file.position(small_catalogue) == 13

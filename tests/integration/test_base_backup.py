"""Base backups of PostgreSQL: of a real instance, checked, made a data folder again, started, and the same catalogue."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from matinee.errors import OperatorError
from matinee.ops import base_backup
from matinee.ops.postgres import SETTINGS, PostgresNode
from matinee.write import movies
from tests import postgres
from tests.cluster import catalogue_file
from tests.conftest import INSTANCE
from tests.processes import eventually, free_port, matinee

pytestmark = pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: a file's backups stand in test_backup.py")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that PostgreSQL's user can reach."""
    path = Path(tempfile.mkdtemp(prefix="matinee-restored-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def backup(home: Path, target: Path, *words: str, **more: str) -> dict[str, Any]:
    """Take a backup, and return what is told of it."""
    done = matinee(home, "backup", str(target), "--json", *words, **more)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def export(home: Path, **more: str) -> str:
    """Return the catalogue as `export ndjson` writes it."""
    done = matinee(home, "export", "ndjson", **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def restored(folder: Path) -> PostgresNode:
    """Return the instance in a restored folder, which is `data` in this one; its superuser is the backup's."""
    assert INSTANCE is not None
    return PostgresNode("restored", folder, free_port(), INSTANCE.node.password)


def database() -> str:
    """Return the name of the test's database."""
    return os.environ["DATABASE_URL"].rpartition("/")[2]


def test_a_restored_instance_holds_the_same_catalogue(small_catalogue: Path, folder: Path) -> None:
    movies.patch(1, {"tagline": "before"}, "tests", "*")
    told = backup(small_catalogue, folder / "backup")
    before, position = export(small_catalogue), catalogue_file.position(small_catalogue)
    movies.patch(1, {"tagline": "after"}, "tests", "*")

    done = matinee(small_catalogue, "restore", told["path"], "--into", str(folder / "data"))

    assert (done.returncode, done.stdout, told["position"]) == (0, "", position), done.stderr
    node = restored(folder)
    try:
        node.start()
        assert export(small_catalogue, DATABASE_URL=node.url(database())) == before
        assert node.ask("SELECT position FROM log_head", database()) == str(position)
        assert node.ask("SELECT pg_is_in_recovery()") == "f"
    finally:
        node.end()


def test_what_is_told_of_a_restored_folder_starts_it(small_catalogue: Path, folder: Path) -> None:
    told = backup(small_catalogue, folder / "backup")

    report = json.loads(matinee(small_catalogue, "restore", told["path"], "--into", str(folder / "data"), "--json").stdout)

    assert (report["folder"], report["database"], report["added_settings"]) == (str(folder / "data"), database(), [])
    assert ((folder / "data").stat().st_mode & 0o777, Path(report["pg_ctl"]).name) == (0o700, "pg_ctl")
    assert Path(report["folder"], "PG_VERSION").read_text().strip() == str(report["postgresql"])
    assert list(folder.glob(".*")) == []


def test_a_backup_of_a_follower_stands_alone_as_a_leader(small_catalogue: Path, folder: Path) -> None:
    assert INSTANCE is not None
    leader, name = INSTANCE.node, database()
    leader.ask("ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()")  # else PostgreSQL copies no follower
    follower = PostgresNode("copied", folder / "follower", free_port(), leader.password, SETTINGS)
    node = restored(folder)
    try:
        follower.follow(leader)
        follower.start()
        urls = {"DATABASE_FOLLOWER_URLS": follower.url(name)}
        told = backup(small_catalogue, folder / "backup", "--from-follower", **urls)
        done = matinee(small_catalogue, "restore", told["path"], "--into", str(folder / "data"))
        node.start()

        assert (done.returncode, told["position"], f":{follower.port}/" in told["what"]) == (0, 12, True)
        assert node.ask("SELECT pg_is_in_recovery()") == "f"
        assert export(small_catalogue, DATABASE_URL=node.url(name)) == export(small_catalogue)
    finally:
        node.end()
        follower.delete()
        slot = f"FROM pg_replication_slots WHERE slot_name = '{follower.slot}'"
        eventually(lambda: leader.ask(f"SELECT active {slot}"), lambda active: active != "t")
        leader.ask(f"SELECT pg_drop_replication_slot(slot_name) {slot}")
        leader.ask("ALTER SYSTEM RESET full_page_writes; SELECT pg_reload_conf()")


def test_a_role_that_may_not_copy_is_told_what_to_type(small_catalogue: Path, folder: Path) -> None:
    assert INSTANCE is not None
    INSTANCE.run("ALTER ROLE matinee_writer PASSWORD 'of the tests'")
    writer = INSTANCE.node.url(database(), "matinee_writer", "of the tests")

    done = matinee(small_catalogue, "backup", str(folder / "backup"), DATABASE_URL=writer)

    assert (done.returncode, done.stdout, list(folder.iterdir())) == (2, "", [])
    assert "matinee_writer may not copy postgresql://matinee_writer:***@" in done.stderr
    assert "DATABASE_URL=$(matinee cluster url leader --owner --passwords) matinee backup" in done.stderr
    assert "ALTER ROLE matinee_writer REPLICATION" in done.stderr


def test_only_a_catalogue_is_copied(small_catalogue: Path, folder: Path) -> None:
    assert INSTANCE is not None
    other = matinee(small_catalogue, "backup", str(folder / "b"), DATABASE_URL=INSTANCE.url("postgres"))
    away = matinee(small_catalogue, "backup", str(folder / "b"), DATABASE_URL=f"postgresql://a:b@127.0.0.1:{free_port()}/m")
    bounced = matinee(small_catalogue, "backup", str(folder / "b"), MATINEE_PGBOUNCER="true")
    unnamed = matinee(small_catalogue, "backup", str(folder / "b"), "--from-follower")

    assert [done.returncode for done in (other, away, bounced, unnamed)] == [2, 2, 2, 2]
    assert "/postgres holds no catalogue; name the database" in other.stderr
    assert "cannot be copied (connection failed" in away.stderr
    assert "does not go through PgBouncer" in bounced.stderr
    assert "--from-follower needs DATABASE_FOLLOWER_URLS" in unnamed.stderr
    assert list(folder.iterdir()) == []


def test_a_backup_takes_the_place_of_another_one_only_when_it_is_forced(small_catalogue: Path, folder: Path) -> None:
    first = backup(small_catalogue, folder / "backup")
    refused = matinee(small_catalogue, "backup", str(folder / "backup"))
    movies.patch(1, {"tagline": "later"}, "tests", "*")
    second = backup(small_catalogue, folder / "backup", "--force")

    assert (refused.returncode, first["position"], second["position"]) == (2, 12, 13)
    assert "is there already; name another, or take its place with --force." in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["backup"]
    assert json.loads((folder / "backup" / "matinee.json").read_text())["position"] == 13


def test_only_the_newest_base_backups_are_kept(small_catalogue: Path) -> None:
    folder = small_catalogue / "backups"
    for name in ("base-20200101T000000Z", "base-20210101T000000Z", "base-mine"):
        (folder / name).mkdir(parents=True)

    done = matinee(small_catalogue, "backup", "--keep", "2")

    assert done.returncode == 0
    assert f"Removed {folder / 'base-20200101T000000Z'}" in done.stderr
    assert sorted(path.name for path in folder.iterdir())[::2] == ["base-20210101T000000Z", "base-mine"]


def test_a_folder_that_is_in_use_is_not_restored_into(small_catalogue: Path, folder: Path) -> None:
    told = backup(small_catalogue, folder)
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()

    full = matinee(small_catalogue, "restore", told["path"], "--into", str(folder / "full"))
    unnamed = matinee(small_catalogue, "restore", told["path"])

    assert Path(told["path"]).parent == folder
    assert (full.returncode, unnamed.returncode) == (2, 2)
    assert "is there already and not empty; name a new folder." in full.stderr
    assert "name the new data folder with --into" in unnamed.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_catalogue: Path) -> Path:
    """Return a backup, to be damaged in copies of it."""
    assert INSTANCE is not None
    path = tmp_path_factory.mktemp("whole") / "backup"
    base_backup.take(f"host=127.0.0.1 port={INSTANCE.node.port} user=postgres", INSTANCE.node.password, path)
    return path


@pytest.mark.parametrize("damage", ["one byte", "cut", "log cut", "log away", "a file away", "manifest", "no manifest"])
def test_a_damaged_backup_is_told_before_anything_is_made_of_it(whole: Path, tmp_path: Path, damage: str) -> None:
    path = Path(shutil.copytree(whole, tmp_path / "copy"))
    base, log, manifest = path / "base.tar.gz", path / "pg_wal.tar.gz", path / "backup_manifest"
    if damage == "one byte":
        content = bytearray(gzip.decompress(base.read_bytes()))
        content[len(content) // 2] ^= 1
        base.write_bytes(gzip.compress(content, 1))
    if damage in ("cut", "log cut"):
        file = base if damage == "cut" else log
        file.write_bytes(file.read_bytes()[:-1000])
    if damage == "log away":
        log.write_bytes(gzip.compress(bytes(10240)))
    if damage == "a file away":
        base.write_bytes(gzip.compress(gzip.decompress(base.read_bytes())[:1024] + bytes(10240)))
    if damage == "manifest":
        manifest.write_text(manifest.read_text().replace("PG_VERSION", "PG_OTHER"))
    if damage == "no manifest":
        manifest.unlink()

    with pytest.raises(OperatorError, match="is no whole base backup of Matinee"):
        base_backup.compare(path)
    with pytest.raises(OperatorError, match="is no whole base backup of Matinee"):
        base_backup.unpack(path, tmp_path / "data")

    assert [item.name for item in tmp_path.iterdir()] == ["copy"]


def test_a_backup_that_stands_is_found_whole(whole: Path) -> None:
    base_backup.compare(whole)

    assert {path.name for path in whole.iterdir()} == {"base.tar.gz", "pg_wal.tar.gz", "backup_manifest"}


def test_no_password_is_seen_in_what_runs(small_catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matinee.storage import backup_source

    source = backup_source.look(os.environ["DATABASE_URL"])

    assert source.password == postgres.PASSWORD
    assert postgres.PASSWORD not in source.conninfo + source.name
    with psycopg.connect(source.conninfo, password=source.password) as session:
        assert session.execute("SELECT position FROM log_head").fetchone() == (source.position,)


def test_an_instance_whose_settings_lie_elsewhere_starts_from_plain_ones(folder: Path) -> None:
    node = PostgresNode("plain", folder / "node", free_port(), "of the tests")
    try:
        node.create()
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
            (node.data / name).unlink()
        added = base_backup.add_settings(node.data)
        node.start()

        assert (added, node.ask("SELECT 1")) == (["postgresql.conf", "pg_hba.conf", "pg_ident.conf"], "1")
        assert base_backup.add_settings(node.data) == []
    finally:
        node.end()

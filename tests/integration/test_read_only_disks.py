"""Backups from and to disks that cannot be written: taken, or refused with what is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from matinee.cli.backup import _remove_old
from matinee.config import load
from matinee.errors import DatabaseError
from matinee.storage import backups
from tests.cluster.small_disk import small_disk
from tests.processes import matinee

pytestmark = pytest.mark.sqlite_only("a file is copied; PostgreSQL's base backups stand in test_base_backup.py")


@pytest.fixture
def disk(small_catalogue: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own with a copy of the catalogue."""
    from django.db import connections

    connections.close_all()
    with small_disk(tmp_path / "disk", None, "16m") as made:
        if made is None:
            pytest.skip("only root may mount a disk")
        shutil.copy(small_catalogue / "catalogue.sqlite3", made.folder)
        yield made.folder


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def nothing(*_: int) -> None:
    """Watch nothing."""


def test_a_catalogue_on_a_read_only_disk_is_copied(disk: Path, tmp_path: Path) -> None:
    make_read_only(disk)

    done = matinee(
        tmp_path / "home", "backup", str(tmp_path / "copy.db"), DATABASE_URL=f"sqlite:///{disk / 'catalogue.sqlite3'}"
    )

    assert (done.returncode, "position 12" in done.stderr) == (0, True), done.stderr
    assert backups.look(tmp_path / "copy.db", "the copy").position == 12


def test_a_log_that_cannot_be_read_on_a_read_only_disk_is_named_and_not_left_out(disk: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(disk / "catalogue.sqlite3")) as file:
        file.execute("UPDATE log_head SET position = position + 1")
        file.commit()
        shutil.copy(disk / "catalogue.sqlite3-wal", tmp_path / "kept")
    shutil.copy(tmp_path / "kept", disk / "catalogue.sqlite3-wal")
    assert (disk / "catalogue.sqlite3-wal").stat().st_size > 0
    make_read_only(disk)

    with pytest.raises(DatabaseError, match="is on a read-only disk with a write-ahead log beside it"):
        backups.take(disk / "catalogue.sqlite3", tmp_path / "copy.db", nothing)

    assert not (tmp_path / "copy.db").exists()


def test_a_target_on_a_read_only_disk_is_refused_with_the_reason(disk: Path, small_catalogue: Path) -> None:
    make_read_only(disk)

    done = matinee(small_catalogue, "backup", str(disk / "copy.db"))

    assert done.returncode == 2
    assert done.stderr == (
        f"matinee: {disk / 'copy.db'} cannot be written (Read-only file system); choose a place on a disk that can be "
        "written, or mount it read-write.\n"
    )


def test_a_damaged_file_is_still_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"SQLite format 3\0" + os.urandom(8192))

    with pytest.raises(DatabaseError, match="is damaged"):
        backups.take(tmp_path / "x.db", tmp_path / "copy.db", nothing)


def test_a_draft_of_a_process_that_was_killed_is_removed_by_the_next_copy(small_catalogue: Path, tmp_path: Path) -> None:
    abandoned, other = tmp_path / ".copy.db.4194999.part", tmp_path / ".other.db.4194999.part"
    abandoned.touch()
    other.touch()

    backups.take(small_catalogue / "catalogue.sqlite3", tmp_path / "copy.db", nothing)

    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [".other.db.4194999.part", "copy.db"]


def test_a_backup_named_by_a_clock_that_was_ahead_does_not_make_the_new_one_old(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    names = [f"catalogue-{year}0101T000000Z.sqlite3" for year in (2023, 2024, 2025, 2026, 2099)]
    for name in names:
        (folder / name).touch()

    _remove_old(load({"MATINEE_HOME": str(tmp_path), "SECRET_KEY": "s" * 40}), 2, folder / names[3])

    assert sorted(path.name for path in folder.iterdir()) == names[2:]

"""An output file never destroys the catalogue's own files, or what the same command reads."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
from pathlib import Path

import pytest

from matinee import config as configuration
from matinee.cli.output_files import open_named, open_numbered, open_output, require_new, require_output
from matinee.errors import ConfigError, OperatorError
from tests.processes import MATINEE, environment, matinee

_FILM = b'{"title": "Alien", "year": 1979}\n{"title": ""}\n'


@pytest.mark.sqlite_only("the catalogue is a file in the data folder")
def test_no_command_writes_over_the_catalogue(small_catalogue: Path, tmp_path: Path) -> None:
    films, named = tmp_path / "films.ndjson", str(small_catalogue / "catalogue.sqlite3")
    films.write_bytes(_FILM)
    before = matinee(small_catalogue, "export", "ndjson").stdout
    commands = [
        ["export", "ndjson", named],
        ["import", "ndjson", str(films), "--rejected", named],
        ["backup", named, "--force"],
        ["cache", "simulate", "zipf", "--requests", "10", "--picture", named],
    ]

    refused = [matinee(small_catalogue, *words) for words in commands]

    sentence = "belongs to the catalogue itself and would be destroyed; name another file."
    assert [(done.returncode, sentence in done.stderr) for done in refused] == [(2, True)] * 4
    assert matinee(small_catalogue, "export", "ndjson").stdout == before


@pytest.mark.sqlite_only("the catalogue is a file in the data folder")
def test_links_and_every_other_file_of_the_catalogue_are_known_as_its_own(small_catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / "a-link").symlink_to(small_catalogue / "catalogue.sqlite3")
    os.link(small_catalogue / "catalogue.sqlite3", tmp_path / "a-twin")
    names = ("catalogue.sqlite3-wal", "catalogue.sqlite3-shm", "secret_key", "logs/matinee.log.1", "cluster/cluster.json")
    config = configuration.load(environment(small_catalogue))

    for path in (*(small_catalogue / name for name in names), tmp_path / "a-link", tmp_path / "a-twin"):
        with pytest.raises(OperatorError, match="belongs to the catalogue itself"):
            require_output(config, path)

    require_output(config, small_catalogue / "movies.ndjson")


def test_no_command_writes_over_what_it_reads(small_catalogue: Path, tmp_path: Path) -> None:
    films, trace = tmp_path / "films.ndjson", tmp_path / "trace.txt"
    films.write_bytes(_FILM)
    trace.write_text("1\n2\n1\n")

    imported = matinee(small_catalogue, "import", "ndjson", str(films), "--rejected", f"{tmp_path}/./films.ndjson")
    drawn = matinee(small_catalogue, "cache", "simulate", str(trace), "--picture", str(trace))

    assert [(done.returncode, "is what this command reads" in done.stderr) for done in (imported, drawn)] == [(2, True)] * 2
    assert (films.read_bytes(), trace.read_text()) == (_FILM, "1\n2\n1\n")


def test_no_command_writes_over_the_file_that_standard_input_comes_from(small_catalogue: Path, tmp_path: Path) -> None:
    films = tmp_path / "films.ndjson"
    films.write_bytes(_FILM)

    with films.open("rb") as stdin:
        done = subprocess.run(
            [*MATINEE, "import", "ndjson", "-", "--force", "--rejected", str(films)],
            env=environment(small_catalogue), stdin=stdin, capture_output=True, check=False,
        )  # fmt: skip

    assert (done.returncode, b"is what this command reads" in done.stderr, films.read_bytes()) == (2, True, _FILM)


def test_no_command_writes_over_another_file_without_force(small_catalogue: Path, tmp_path: Path) -> None:
    films, kept = tmp_path / "films.ndjson", tmp_path / "kept"
    films.write_bytes(_FILM)
    kept.write_text("kept")
    commands = [
        ["export", "ndjson", str(kept)],
        ["import", "ndjson", str(films), "--rejected", str(kept)],
        ["cache", "simulate", "zipf", "--requests", "10", "--picture", str(kept)],
    ]

    for words in commands:
        refused = matinee(small_catalogue, *words)
        assert (refused.returncode, kept.read_text()) == (2, "kept")
        assert refused.stderr == f"matinee: {kept} exists; name another file, or replace this one with --force.\n"
    for words in commands:
        assert matinee(small_catalogue, *words, "--force").returncode in {0, 1}  # 1: the film without a title
        assert kept.read_text() != "kept"
        kept.write_text("kept")


def test_an_empty_file_is_free(tmp_path: Path) -> None:
    (tmp_path / "made-by-mktemp").touch(0o600)

    require_new(tmp_path / "made-by-mktemp", force=False)
    with open_output(tmp_path / "made-by-mktemp") as output:
        output.write(b"result")

    assert (tmp_path / "made-by-mktemp").read_bytes() == b"result"
    assert stat.S_IMODE((tmp_path / "made-by-mktemp").stat().st_mode) == 0o600


def test_a_file_is_replaced_only_by_a_whole_one_and_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(tmp_path / "export")
    (tmp_path / "export").write_bytes(b"old")

    with pytest.raises(ZeroDivisionError), open_output(tmp_path / "latest") as output:
        output.write(b"half" + bytes(1 // 0))
    assert (tmp_path / "export").read_bytes() == b"old"
    with open_output(tmp_path / "latest") as output:
        output.write(b"whole")

    assert (tmp_path / "latest").is_symlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"latest": b"whole", "export": b"whole"}


def test_a_fifo_is_written_in_place(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o640)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    require_new(fifo, force=False)
    with open_output(fifo) as output:
        output.write(b"result")
    with open_named(fifo)[1] as output:
        output.write(b"rejected")

    assert os.read(reader, 100) == b"resultrejected"
    os.close(reader)
    assert (stat.S_ISFIFO(fifo.stat().st_mode), stat.S_IMODE(fifo.stat().st_mode)) == (True, 0o640)
    assert list(tmp_path.iterdir()) == [fifo]


def test_a_descriptor_is_written_where_it_stands(tmp_path: Path) -> None:
    with (tmp_path / "redirected").open("wb") as file:
        file.write(b"before ")
        file.flush()
        path = Path(f"/dev/fd/{file.fileno()}")
        require_new(path, force=False)
        with open_output(path) as output:
            output.write(b"result ")
        with open_named(path)[1] as output:
            output.write(b"rejected")

    assert (tmp_path / "redirected").read_bytes() == b"before result rejected"


def test_a_device_is_no_input_that_could_be_lost(small_catalogue: Path) -> None:
    require_output(configuration.load(environment(small_catalogue)), Path("/dev/null"), "-", "/dev/null")


def test_rejected_records_of_an_earlier_import_stay(tmp_path: Path) -> None:
    for _ in range(3):
        open_numbered(tmp_path / "rejected" / "films.ndjson")[1].close()

    names = sorted(path.name for path in (tmp_path / "rejected").iterdir())
    assert names == ["films-2.ndjson", "films-3.ndjson", "films.ndjson"]


def test_a_file_where_the_folder_for_rejected_records_belongs_is_told(tmp_path: Path) -> None:
    (tmp_path / "rejected").touch()

    with pytest.raises(FileExistsError):
        open_numbered(tmp_path / "rejected" / "films.ndjson")


@pytest.mark.sqlite_only("the catalogue is a file in the data folder")
@pytest.mark.parametrize("name", ["catalogue.sqlite3", "catalogue.sqlite3-wal", "secret_key"])
def test_the_log_does_not_go_into_a_file_of_the_catalogue(tmp_path: Path, name: str) -> None:
    environ = environment(tmp_path, MATINEE_LOG_FILE=f"{tmp_path}/x/../{name}")

    with pytest.raises(ConfigError) as refused:
        configuration.load(environ)

    assert "belongs to the catalogue itself; choose another file" in refused.value.detail


@pytest.mark.sqlite_only("a file is put back")
def test_a_compressed_backup_is_refused_with_the_command_that_unpacks_it(small_catalogue: Path, tmp_path: Path) -> None:
    packed = tmp_path / "backup.sqlite3.gz"
    packed.write_bytes(gzip.compress((small_catalogue / "catalogue.sqlite3").read_bytes()))

    refused = matinee(small_catalogue, "restore", str(packed))

    assert (refused.returncode, f"`gzip -dk {packed}`" in refused.stderr) == (2, True)

"""An output file never destroys the catalogue's own files, or what the same command reads."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from matinee import config as configuration
from matinee.cli.output_files import require_output
from matinee.errors import ConfigError, OperatorError
from tests.processes import environment, matinee

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

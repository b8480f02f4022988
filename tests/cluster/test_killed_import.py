"""An import that is killed with -9 in the middle leaves whole batches, and the same command finishes the job."""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from itertools import islice
from pathlib import Path

import pytest

from tests.cluster.catalogue_file import ask, contradictions, movies
from tests.conftest import catalogue_in
from tests.processes import MATINEE, START_DEADLINE_S, end, environment, eventually, matinee

_FILMS = 1_500
_BATCH = 10


@pytest.fixture
def home(empty_catalogue: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a data folder with an empty catalogue."""
    with catalogue_in(tmp_path, empty_catalogue):
        yield tmp_path


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Return a file with the first films of the sample."""
    path = tmp_path / "films.ndjson"
    with resources.as_file(resources.files("matinee.sample") / "movies.ndjson.xz") as sample, lzma.open(sample) as lines:
        path.write_bytes(b"".join(islice(lines, _FILMS)))
    return path


@contextmanager
def running_import(home: Path, films: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an import beside the test and end it afterwards."""
    words = [*MATINEE, "import", "ndjson", str(films)]
    env = environment(home, MATINEE_IMPORT_BATCH_ROWS=str(_BATCH))
    with (home / "import.log").open("wb") as log:
        process = subprocess.Popen(words, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        end(process)


def test_an_import_killed_in_the_middle_leaves_a_sound_catalogue_and_the_same_command_finishes_it(
    home: Path, films: Path
) -> None:
    with running_import(home, films) as process:
        eventually(lambda: movies(home) or process.poll() is not None, bool, START_DEADLINE_S)
        process.kill()
        process.wait(10)

    kept = movies(home)
    assert 0 < kept < _FILMS
    assert kept % _BATCH == 0
    assert contradictions(home) == []

    finished = matinee(home, "import", "ndjson", str(films))

    assert finished.returncode == 0, finished.stderr
    assert f"1,500 read: {_FILMS - kept:,} added" in finished.stderr
    assert contradictions(home) == []
    once = "SELECT count(*), count(DISTINCT title || coalesce(year, 0)), sum(version) FROM movie"
    imdb = ask(home, "SELECT count(*), count(DISTINCT movie_id) FROM external_id WHERE scheme = 'imdb'")
    assert imdb == [(_FILMS, _FILMS)]
    assert (ask(home, once)[0][0], ask(home, once)[0][2]) == (_FILMS, _FILMS)

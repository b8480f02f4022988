"""One catalogue for the whole folder: a file, and the same movies in memory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from matinee.storage.memory import MemoryReader
from matinee.storage.sql_reader import SqlReader
from matinee.storage.sqlite import sqlite_reader
from tests.conformance.catalogues import catalogue_copy, fill, in_memory


class Pair(NamedTuple):
    """Two readers of the same movies."""

    sqlite: SqlReader
    memory: MemoryReader


@pytest.fixture(scope="session")
def pair(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return both readers over a generated catalogue of 200 movies; nobody writes to it."""
    path = tmp_path_factory.mktemp("readers") / "catalogue.sqlite3"
    with catalogue_copy(empty_catalogue, path):
        fill(200, seed=7)
        memory = in_memory()
    return Pair(sqlite_reader(path, timeout_ms=60_000), memory)

"""One catalogue for the whole folder: on the engine of this run, and the same movies in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.catalogues import Pair, engine_reader, fill, in_memory
from tests.conftest import catalogue_in


@pytest.fixture(scope="session")
def pair(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return both readers over a generated catalogue of 200 movies; nobody writes to it."""
    home = tmp_path_factory.mktemp("readers")
    with catalogue_in(home, empty_catalogue, is_kept=True):
        fill(200, seed=7)
        return Pair(engine_reader(home), in_memory())

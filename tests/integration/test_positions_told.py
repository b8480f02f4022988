"""Which position an answer tells that was kept: never one from before what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from tests.client import Client
from tests.processes import eventually


@pytest.mark.parametrize("path", ["/v1/movies/1", "/v1/movies?ids=1,2", "/v1/movies/999"])
def test_a_hit_that_was_read_ahead_of_the_followed_log_tells_the_position_that_it_was_read_at(
    small_catalogue: Path, path: str
) -> None:
    with Client(configuration.load(home=small_catalogue)) as client:
        client.get("/readyz")
        known: Any = eventually(
            lambda: client.get("/livez") and client.runtime.catalogue.known(), lambda seen: seen is not None
        )
        client.get(path)

        client.runtime.local.peek(kept_under(path)).stamp = known.position + 3
        before = client.reader.statements
        told = client.get(path).headers["matinee-position"]

        assert (client.reader.statements - before, int(told)) == (0, known.position + 3)


def kept_under(path: str) -> str:
    """Return the key of an address, which may have a query."""
    path, _, query = path.partition("?")
    return f"?{query} {path}" if query else path

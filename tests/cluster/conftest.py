"""The whole cluster, once for all its rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from matinee.ops import patroni

pytest.register_assert_rewrite("tests.cluster.whole")  # so that it shows which request it was

from tests.cluster.whole import Whole, made_whole  # noqa: E402


@pytest.fixture(scope="session")
def whole() -> Iterator[Whole]:
    """Return the whole cluster: three servers behind HAProxy, PostgreSQL under Patroni, Redis."""
    patroni.program()  # else it fails here, and says what to type
    with made_whole() as made:
        yield made

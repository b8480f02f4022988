"""The memory of bodies that are arriving is bounded, and the client that takes the most of it pays."""

from __future__ import annotations

import pytest

from matinee.http.bodies import Bodies

pytestmark = pytest.mark.unit
_MIB = 1024 * 1024


class Request:
    """A request that notes that its body was ended."""

    def __init__(self, client: str) -> None:
        self.client, self.is_ended = client, False

    def end_body(self) -> None:
        self.is_ended = True


def test_beyond_the_bound_the_client_with_the_most_bytes_loses_its_largest_body() -> None:
    bodies, innocent = Bodies(_MIB), Request("10.0.0.1")
    small, large, last = (Request("10.0.0.2") for _ in range(3))
    bodies.add(innocent, 24 * _MIB)
    bodies.add(small, 17 * _MIB)
    bodies.add(large, 23 * _MIB)

    bodies.add(last, 1)

    assert [request.is_ended for request in (innocent, small, large, last)] == [False, False, True, False]
    assert bodies.total_bytes == 41 * _MIB + 1


def test_a_piece_that_is_too_much_alone_ends_its_own_body() -> None:
    bodies, only = Bodies(_MIB), Request("10.0.0.1")

    bodies.add(only, 64 * _MIB + 1)

    assert (only.is_ended, bodies.total_bytes) == (True, 0)


def test_what_is_complete_counts_no_longer() -> None:
    bodies, done, other = Bodies(_MIB), Request("10.0.0.1"), Request("10.0.0.1")
    bodies.add(done, 64 * _MIB)
    bodies.remove(done)
    bodies.remove(done)

    bodies.add(other, 64 * _MIB)

    assert (bodies.total_bytes, done.is_ended, other.is_ended) == (64 * _MIB, False, False)


def test_the_largest_body_that_is_allowed_fits() -> None:
    bodies, large = Bodies(1024 * _MIB), Request("10.0.0.1")

    bodies.add(large, 1024 * _MIB)

    assert not large.is_ended

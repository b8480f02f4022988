"""The memory of bodies that are arriving is bounded, and the slowest pays for it."""

from __future__ import annotations

from matinee.http.bodies import Bodies

_MIB = 1024 * 1024


class Request:
    """A request that notes that its body was ended."""

    def __init__(self) -> None:
        self.is_ended = False

    def end_body(self) -> None:
        self.is_ended = True


def test_beyond_the_bound_the_body_that_began_first_is_ended() -> None:
    bodies, slow, other, fast = Bodies(_MIB), Request(), Request(), Request()
    for request in (slow, other):
        bodies.add(request, 32 * _MIB)

    bodies.add(fast, 1)

    assert [request.is_ended for request in (slow, other, fast)] == [True, False, False]
    assert bodies.total_bytes == 32 * _MIB + 1


def test_what_is_complete_counts_no_longer() -> None:
    bodies, done, other = Bodies(_MIB), Request(), Request()
    bodies.add(done, 64 * _MIB)
    bodies.remove(done)
    bodies.remove(done)

    bodies.add(other, 64 * _MIB)

    assert (bodies.total_bytes, done.is_ended, other.is_ended) == (64 * _MIB, False, False)


def test_the_largest_body_that_is_allowed_fits() -> None:
    bodies, large = Bodies(1024 * _MIB), Request()

    bodies.add(large, 1024 * _MIB)

    assert not large.is_ended

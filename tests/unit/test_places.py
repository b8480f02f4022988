"""The places of a process: all of them for reads, a quarter at most for the admin, half of these for visitors."""

from __future__ import annotations

import pytest

from matinee.http.places import Places

pytestmark = pytest.mark.unit


def taken(places: Places) -> tuple[bool, bool]:
    """Return whether a read and whether the admin finds no place."""
    return places.are_taken(is_admin=False), places.are_taken(is_admin=True)


def test_the_admin_takes_a_quarter_of_the_places_at_most_and_they_count() -> None:
    places = Places(8)

    places.take(is_admin=True)
    one_of_two = taken(places)
    places.take(is_admin=True)
    two_of_two = taken(places)
    for _ in range(6):
        places.take(is_admin=False)

    assert (one_of_two, two_of_two, taken(places)) == ((False, False), (False, True), (True, True))


def test_a_place_that_was_given_up_is_free_for_whoever_comes() -> None:
    places = Places(1)
    places.take(is_admin=False)
    full = taken(places)

    places.free(is_admin=False)

    assert (full, taken(places), places.taken) == ((True, True), (False, False), 0)


def test_visitors_leave_half_of_the_admins_places_to_its_users() -> None:
    places = Places(80)
    for number in range(10):
        places.take(is_admin=True, visitor=f"192.0.2.{number}")

    full = places.are_taken(is_admin=True, visitor="198.51.100.1"), places.are_taken(is_admin=True)
    places.free(is_admin=True, visitor="192.0.2.1")

    assert (full, places.are_taken(is_admin=True, visitor="198.51.100.1")) == ((True, False), False)


def test_one_visitor_leaves_places_to_the_others() -> None:
    places = Places(80)
    for _ in range(8):
        places.take(is_admin=True, visitor="192.0.2.1")

    assert [places.are_taken(is_admin=True, visitor=client) for client in ("192.0.2.1", "192.0.2.2")] == [True, False]

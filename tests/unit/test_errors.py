"""The error tree: every kind has an address, a sentence, a status and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from matinee import errors
from matinee.errors import Fault, InvalidBody, MatineeError, NotFound, StaleVersion, request_errors
from matinee.http.docs import REMEDIES


def family(kind: type[MatineeError]) -> Iterator[type[MatineeError]]:
    """Return a class of ours and all that come from it."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


def test_no_two_errors_have_one_slug() -> None:
    slugs = [kind.slug for kind in request_errors()]

    assert sorted(set(slugs)) == sorted(slugs)


@pytest.mark.parametrize("kind", request_errors(), ids=lambda kind: kind.__name__)
def test_an_error_has_a_sentence_a_status_an_address_and_a_remedy(kind: type[MatineeError]) -> None:
    title = kind.title()

    assert title[0].isupper()
    assert title.endswith(".")
    assert 400 <= kind.status <= 599
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.slug)
    assert REMEDIES[kind.slug].endswith(".")


def test_there_are_no_remedies_for_errors_that_do_not_exist() -> None:
    assert set(REMEDIES) == {kind.slug for kind in request_errors()}


def test_every_error_but_the_operators_can_be_met_by_a_client() -> None:
    operators = set(family(errors.OperatorError))

    met = set(request_errors())

    assert met == set(family(MatineeError)) - operators - {MatineeError}


def test_the_errors_come_in_order_of_status() -> None:
    statuses = [kind.status for kind in request_errors()]

    assert statuses == sorted(statuses)


def test_the_tree_that_is_drawn_names_every_class_once() -> None:
    drawn = ["MatineeError", *re.findall(r"[├└]── (\w+)", errors.__doc__ or "")]

    assert sorted(drawn) == sorted(kind.__name__ for kind in family(MatineeError))


def test_the_tree_that_is_drawn_tells_each_status() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +([0-9]{3})\b", errors.__doc__ or ""))

    leaves = {kind for kind in request_errors() if not kind.__subclasses__()}
    assert drawn == {kind.__name__: str(kind.status) for kind in leaves}


def test_an_error_says_its_title_when_nothing_more_is_known() -> None:
    plain, told = NotFound(), NotFound("There is no movie 7.")

    assert (str(plain), plain.detail) == ("There is nothing at this address.",) * 2
    assert (str(told), told.detail) == ("There is no movie 7.",) * 2


def test_an_error_carries_what_a_client_needs_to_go_on() -> None:
    stale = StaleVersion("It is version 3 now.", current_version=3, current_etag='"3.9"')
    broken = InvalidBody("/year: too early", faults=(Fault("/year", "too early"),))

    assert (stale.current_version, stale.current_etag, stale.faults) == (3, '"3.9"', ())
    assert broken.faults == (Fault("/year", "too early"),)

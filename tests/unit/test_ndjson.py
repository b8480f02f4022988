"""Lines of Matinee NDJSON: each becomes the record that it states, or is rejected with the place that is wrong."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from matinee.domain.movie import Critics, Ids, Rating
from matinee.importers import ndjson
from matinee.importers.importing import Rejected
from matinee.write.batches import Record
from tests.integration.test_import_documents import document


def read(line: bytes | dict[str, Any]) -> Record | Rejected:
    """Return what a line is."""
    text = line if isinstance(line, bytes) else json.dumps({"title": "X"} | line).encode()
    (found,) = ndjson.read(io.BytesIO(text))
    return found


def content(line: dict[str, Any]) -> Any:
    """Return what a good line states of its movie."""
    found = read(line)
    assert isinstance(found, Record), found
    return found.content


def reason(line: bytes | dict[str, Any]) -> str:
    """Return why a line is rejected."""
    found = read(line)
    assert isinstance(found, Rejected), found
    return found.reason


@pytest.mark.parametrize("group", [None, 7.5, "x", [1], True])
@pytest.mark.parametrize(
    ("flat", "place"), [("imdb_id", "ids"), ("rating_votes", "rating"), ("metascore", "critics"), ("oscars", "awards")]
)
def test_a_group_that_is_no_object_is_rejected_with_its_place(group: Any, flat: str, place: str) -> None:
    assert reason({place: group, flat: 3}).startswith(f"/{place}: Expected `object`")


def test_flat_fields_join_the_group_that_the_record_states() -> None:
    found = content({"imdb_id": "tt0078748", "ids": {"tmdb": "348"}, "rating": {"average": 8.5}, "rating_votes": 3})

    assert (found.ids, found.rating) == (Ids(imdb="tt0078748", tmdb="348"), Rating(average=8.5, votes=3))


@pytest.mark.parametrize(
    ("line", "place", "flat"),
    [
        ({"imdb_id": "tt0078748", "ids": {"imdb": "tt0000001"}}, "/ids/imdb", "imdb_id"),
        ({"ids": {"imdb": None}, "imdb_id": "tt0078748"}, "/ids/imdb", "imdb_id"),
        ({"critic_score": 3, "critics": {"score": 4}}, "/critics/score", "critic_score"),
        ({"production": ["A"], "companies": ["B"]}, "/companies", "production"),
        ({"companies": ["B"], "production": ["A"]}, "/companies", "production"),
    ],
)
def test_a_line_that_states_a_field_twice_is_rejected(line: dict[str, Any], place: str, flat: str) -> None:
    assert reason(line) == f"{place}: is stated twice, here and as {flat}; leave one of them out"


def test_a_document_with_an_unknown_field_is_rejected_with_its_place() -> None:
    assert reason(document(1, titel="Alien")) == "/titel: a movie has no field 'titel'; did you mean 'title'?"
    assert reason(document(1, imdb_id="tt0078748")).startswith("/imdb_id: a movie has no field")
    assert "unknown field `imbd` - at `$.ids`" in reason(document(1, ids={"imbd": "tt0078748"}))


def test_whole_numbers_with_a_point_are_whole_numbers() -> None:
    line = {"tmdb_id": 348.0, "movielens_id": 1214.0, "year": 1979.0, "critic_reviews": 300.0, "oscars": 1.0, "metascore": 89.0}

    found = content(line | {"box_office_usd": 3e8})

    assert (found.ids, found.year, found.critics) == (
        Ids(tmdb="348", movielens="1214"),
        1979,
        Critics(reviews=300, metascore=89),
    )
    assert found.popularity == 90.0


@pytest.mark.parametrize("number", [348.5, 1e30, True])
def test_a_number_that_is_no_id_is_rejected_with_its_place(number: Any) -> None:
    assert reason({"tmdb_id": number}).startswith("/ids/tmdb: ")


def test_a_line_without_a_count_of_reviews_says_nothing_of_popularity() -> None:
    found = read({"critic_reviews": None})

    assert isinstance(found, Record)
    assert found.stated == {"title", "critics"}


@pytest.mark.parametrize(
    ("line", "is_twice"),
    [
        (b'{"title":"One","title":"Two"}', True),
        (b'{"title" : "One", "title":"Two"}', True),
        (b'{"title":"One","ti\\u0074le":"Two"}', True),
        (b'{"title":"a \\"title\\":","tagline":"\\u0022:","title":"Two"}', True),
        (b'{"title":"One","ids":{"imdb":"tt0000001","imdb":"tt0000001"}}', True),
        (b'{"title":"a \\"title\\": b"}', False),
        (b'{"title" : "a \\u0022: b"}', False),
    ],
)
def test_a_name_that_an_object_states_twice_is_seen_however_it_is_written(line: bytes, is_twice: bool) -> None:
    found = read(line)

    assert isinstance(found, Rejected) == is_twice
    assert not isinstance(found, Rejected) or "is stated twice in one object" in found.reason

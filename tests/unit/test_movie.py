"""A movie as it is written: what is refused and where, and the one normal form of what is taken."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.domain.ids import ExternalId
from matinee.domain.movie import (
    ADDED_FIELDS,
    CONTENT_FIELDS,
    Ids,
    MovieContent,
    MovieDocument,
    PersonRef,
    content_of,
    known_ids,
    parse_content,
    tidy,
)
from matinee.domain.text import is_visible
from matinee.errors import Fault, InvalidBody

BLANK_OR_CONTROL = "must not be blank and must not hold control characters"
ADDED = {"id": 7, "version": 3, "position": 9, "updated_at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}


# Blanks, format characters, fillers, an empty Braille cell, marks without a letter, unassigned and private characters.
INVISIBLE = ["\u200b", "\u2060\u200d", "\u202e\u2066", "\u3164", "\u115f\u1160", "\uffa0", "\u2800", "\u0301\u0308",
             "\ufe0f", "\ufeff", "\xad", "\u3000", "\ue000", "\u180e"]  # fmt: skip


def faults_of(plain: Any) -> list[tuple[str, str]]:
    """Return where a document is wrong, and what is wrong there."""
    with pytest.raises(InvalidBody) as caught:
        parse_content(plain)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


def text(max_chars: int = 12) -> st.SearchStrategy[str]:
    """Return texts with marks apart and together, blanks around them, and something to see."""
    return st.text("aÀB\u0301éß\u00a0 \u3000ﬁ千", min_size=1, max_size=max_chars).filter(is_visible)


PERSON_IDS = st.integers(1, 5)
PEOPLE = st.lists(
    st.fixed_dictionaries({"id": PERSON_IDS, "name": text()}) | st.fixed_dictionaries({"name": text()}), max_size=4
)
CONTENTS = st.fixed_dictionaries(
    {"title": text()},
    optional={
        "original_title": st.none() | text(),
        "year": st.none() | st.integers(1870, 2200),
        "released": st.none() | st.dates().map(str),
        "genres": st.lists(text(4), max_size=5),
        "countries": st.lists(text(4), max_size=5),
        "directors": PEOPLE,
        "cast": PEOPLE,
        "overview": st.none() | text().map(lambda made: f"\n{made}\n\n{made}\t"),
        "rating": st.fixed_dictionaries({}, optional={"average": st.floats(0, 10), "votes": st.integers(0, 10**9)}),
        "popularity": st.none() | st.floats(0, 1_000_000),
        "ids": st.fixed_dictionaries({}, optional={"tmdb": st.integers(1, 10**6).map(str)}),
    },
)


def test_a_title_is_enough_and_the_rest_is_unknown() -> None:
    content = parse_content({"title": "Alien"})

    assert content == MovieContent(title="Alien")
    assert {name for name in CONTENT_FIELDS if getattr(content, name) is None} == {
        "original_title", "year", "released", "runtime_min", "overview", "tagline", "certificate", "popularity",
        "box_office_usd", "poster",
    }  # fmt: skip


@pytest.mark.parametrize("plain", [None, [], "Alien", 1, True])
def test_what_is_no_object_is_refused_as_a_whole(plain: Any) -> None:
    with pytest.raises(InvalidBody) as caught:
        parse_content(plain)

    assert caught.value.detail == 'A movie is a JSON object, as {"title": "Alien"}.'
    assert caught.value.faults == (Fault("", "not an object"),)


@pytest.mark.parametrize(
    ("stated", "pointer", "detail"),
    [
        ({"title": None}, "/title", "a movie needs a title"),
        ({"title": " \u3000 "}, "/title", BLANK_OR_CONTROL),
        ({"title": "Ali\x00en"}, "/title", BLANK_OR_CONTROL),
        ({"title": "a" * 501}, "/title", "Expected `str` of length <= 500"),
        ({"year": "1979"}, "/year", "Expected `int | null`, got `str`"),
        ({"year": 1869}, "/year", "Expected `int` >= 1870"),
        ({"released": "1979"}, "/released", "Invalid RFC3339 encoded date"),
        ({"genres": "Drama"}, "/genres", "Expected `array`, got `str`"),
        ({"genres": ["Drama", 3]}, "/genres/1", "Expected `str`, got `int`"),
        ({"ids": {"imdb": "78748"}}, "/ids/imdb", "Expected `str` matching regex '^tt[0-9]{5,10}$'"),
        ({"ids": {"imbd": "tt0078748"}}, "/ids", "Object contains unknown field `imbd`"),
        ({"directors": ["Ridley Scott"]}, "/directors/0", "Expected `object`, got `str`"),
        ({"writers": [{"id": 0}]}, "/writers/0/id", "Expected `int` >= 1"),
        ({"cast": [{"name": "A"}, {"character": "B"}]}, "/cast/1", "a person needs an id or a name"),
        ({"rating": {"average": 10.5}}, "/rating/average", "Expected `float` <= 10.0"),
        ({"awards": {"oscars": 1.5}}, "/awards/oscars", "Expected `int | null`, got `float`"),
        (
            {"poster": "ftp://x"},
            "/poster",
            "must be an address that begins with http:// or https://, without blanks",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(stated: dict[str, Any], pointer: str, detail: str) -> None:
    assert faults_of({"title": "Alien", **stated}) == [(pointer, detail)]


def test_all_faults_are_told_at_once_and_the_first_stands_in_the_detail() -> None:
    wrong = {"yeer": 1979, "runtime_min": 0, "cast": [{}, {"name": "A"}, {}], "genres": [""]}

    with pytest.raises(InvalidBody) as caught:
        parse_content(wrong)

    assert caught.value.detail == "/yeer: a movie has no field 'yeer'; did you mean 'year'?"
    assert [fault.pointer for fault in caught.value.faults] == [
        "/yeer", "/title", "/runtime_min", "/genres/0", "/cast/0", "/cast/2",
    ]  # fmt: skip


def test_unknown_fields_are_told_in_order_with_the_nearest_name() -> None:
    assert faults_of({"title": "Alien", "x/y~z": 1, "taglin": "", "zzz": 1, "directer": []}) == [
        ("/directer", "a movie has no field 'directer'; did you mean 'directors'?"),
        ("/taglin", "a movie has no field 'taglin'; did you mean 'tagline'?"),
        ("/x~1y~0z", "a movie has no field 'x/y~z'"),
        ("/zzz", "a movie has no field 'zzz'"),
    ]


def test_what_the_catalogue_adds_is_left_out_whatever_it_holds() -> None:
    assert parse_content({"title": "Alien", **dict.fromkeys(ADDED_FIELDS, object())}) == MovieContent(title="Alien")


def test_texts_are_trimmed_and_composed() -> None:
    content = parse_content({"title": "\u00a0Ame\u0301lie ", "overview": " One.\n\nTwo. \n", "directors": [{"name": " A "}]})

    assert content == MovieContent(title="Am\u00e9lie", overview="One.\n\nTwo.", directors=[PersonRef(name="A")])


def test_a_name_stands_once_in_a_list_as_it_was_first_written() -> None:
    content = parse_content({"title": "A", "genres": ["Sci-Fi", "sci-fi ", " Drama", "SCI-FI"], "countries": ["USA", "usa"]})

    assert (content.genres, content.countries) == (["Sci-Fi", "Drama"], ["USA"])


def test_the_same_person_in_the_same_part_stands_once() -> None:
    ripley, voice = {"name": "S", "character": "Ripley"}, {"name": "S", "character": "Voice"}

    content = parse_content(
        {"title": "A", "cast": [ripley, voice, {**ripley, "name": " S"}], "writers": [{"id": 1}, {"id": 1}]}
    )

    assert [member.character for member in content.cast] == ["Ripley", "Voice"]
    assert content.writers == [PersonRef(id=1)]


def test_a_whole_number_with_a_point_is_the_same_number() -> None:
    stated = {"title": "A", "year": 1979.0, "rating": {"votes": 3.0}, "cast": [{"id": 2.0, "order": 0.0}]}

    assert parse_content(stated) == parse_content(
        {"title": "A", "year": 1979, "rating": {"votes": 3}, "cast": [{"id": 2, "order": 0}]}
    )


def test_a_text_that_is_too_long_once_it_is_composed_is_refused() -> None:
    grows = "\u0958" * 300  # composed, this letter becomes two

    assert faults_of({"title": grows}) == [("/title", "Expected `str` of length <= 500")]


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_title_or_a_name_that_shows_nothing_is_refused_where_it_stands(text: str) -> None:
    stated = {
        "title": text, "original_title": text, "genres": ["A", text], "companies": [text],
        "directors": [{"name": text}], "cast": [{"name": "A", "character": text}],
    }  # fmt: skip

    places = ["/title", "/original_title", "/genres/1", "/directors/0/name", "/cast/0/character", "/companies/0"]
    assert [(where.replace("[...]", "/1"), len(what) > 0) for where, what in faults_of(stated)] == [(p, True) for p in places]


@pytest.mark.parametrize("text", ["π", "$", "…", "😀", "א", "\u200bA", "½", "́A", "ﷺ"])
def test_a_title_that_shows_anything_is_taken(text: str) -> None:
    assert parse_content({"title": text}).title == text


@pytest.mark.parametrize("average", [float("nan"), float("inf"), -0.5, 1e308, 10.0001])
def test_a_number_that_no_rating_is_is_refused(average: float) -> None:
    assert [where for where, _ in faults_of({"title": "A", "rating": {"average": average}})] == ["/rating/average"]


def test_no_negative_zero_is_kept() -> None:
    assert str(parse_content({"title": "A", "popularity": -0.0}).popularity) == "0.0"


def test_what_is_passed_in_is_not_changed() -> None:
    stated = {"title": " A ", "genres": ["b ", "B"], "id": 1}

    parse_content(stated)

    assert stated == {"title": " A ", "genres": ["b ", "B"], "id": 1}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(CONTENTS)
def test_the_normal_form_of_the_normal_form_is_itself(plain: dict[str, Any]) -> None:
    content = parse_content(plain)

    assert tidy(content) == content


@settings(derandomize=True, max_examples=100, deadline=None)
@given(CONTENTS)
def test_a_content_survives_being_written_as_json_and_read_back(plain: dict[str, Any]) -> None:
    content = parse_content(plain)

    assert parse_content(msgspec.json.decode(msgspec.json.encode(content))) == content


def test_a_document_gives_back_what_was_stated() -> None:
    stated = {
        "ids": {"imdb": "tt0078748"}, "title": "Alien", "year": 1979, "released": "1979-05-25", "genres": ["Horror"],
        "directors": [{"id": 1, "name": "Ridley Scott"}],
        "cast": [{"id": 2, "name": "Sigourney Weaver", "character": "Ripley", "order": 0}],
        "rating": {"average": 8.5, "votes": 900_000}, "awards": {"oscars": 1}, "popularity": 95.0,
    }  # fmt: skip
    content = parse_content(stated)
    document = msgspec.convert({**msgspec.to_builtins(content), **ADDED}, MovieDocument)

    assert content_of(document) == content
    assert parse_content(msgspec.to_builtins(document)) == content


def test_a_document_has_every_field_of_the_content_and_what_the_catalogue_adds() -> None:
    assert set(MovieDocument.__struct_fields__) == {*CONTENT_FIELDS, *ADDED_FIELDS}
    assert not ADDED_FIELDS & set(CONTENT_FIELDS)


def test_known_ids_come_in_the_order_of_the_schemes() -> None:
    ids = Ids(fynd="alien", tmdb="348", imdb="tt0078748")

    assert known_ids(ids) == [ExternalId("imdb", "tt0078748"), ExternalId("tmdb", "348"), ExternalId("fynd", "alien")]
    assert known_ids(Ids()) == []

"""A movie's names: our number, and the ids of other catalogues."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.domain.ids import MAX_ID, REF_PATTERN, SCHEMES, ExternalId, fault_of, former_fynd_id, fynd_id, parse_ref
from matinee.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("42", 42),
        ("0042", 42),
        (str(MAX_ID), MAX_ID),
        ("imdb:tt0078748", ExternalId("imdb", "tt0078748")),
        ("tmdb:348", ExternalId("tmdb", "348")),
        ("wikidata:Q103569", ExternalId("wikidata", "Q103569")),
        ("movielens:1214", ExternalId("movielens", "1214")),
        ("fynd:alien-ridley-scott", ExternalId("fynd", "alien-ridley-scott")),
    ],
)
def test_every_form_of_an_id_is_read(text: str, ref: int | ExternalId) -> None:
    assert parse_ref(text) == ref


@pytest.mark.parametrize("text", ["0", "00", str(MAX_ID + 1), "99999999999", "9" * 5_000])
def test_a_number_that_no_movie_can_have_is_zero_and_so_not_found(text: str) -> None:
    assert parse_ref(text) == 0


@pytest.mark.parametrize("text", ["", "alien", "-1", "+1", "1.0", " 1", "1_000", "٤٢", "４２", "²", "tt0078748"])
def test_what_is_no_id_is_refused_with_the_forms_that_work(text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_ref(text)

    assert caught.value.detail == f"id {text!r} is not a movie's id; use our whole number, as 42, or imdb:tt0078748."


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_ref("omdb:1", "ids")

    assert caught.value.detail == "ids 'omdb:1': unknown scheme 'omdb'; known: imdb, tmdb, wikidata, movielens, fynd."


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("imdb:0078748", "tt0078748"),
        ("imdb:tt٠٠٧٨٧٤٨", "tt0078748"),
        ("imdb:tt0078748\n", "tt0078748"),
        ("imdb:", "tt0078748"),
        ("tmdb:0348", "348"),
        ("tmdb:" + "9" * 13, "348"),
        ("wikidata:103569", "Q103569"),
        ("movielens:x", "1214"),
        ("fynd:alien--scott", "alien-ridley-scott"),
        ("fynd:" + "a" * 201, "alien-ridley-scott"),
    ],
)
def test_a_value_that_its_scheme_does_not_have_is_refused_with_an_example(text: str, example: str) -> None:
    scheme, _, value = text.partition(":")

    with pytest.raises(InvalidParameter) as caught:
        parse_ref(text)

    ending = f"{value[:60]!r} is not an id of {scheme}, which look like {example!r}."
    assert caught.value.detail == f"id {text[:60]!r}: {ending}"


def test_a_message_quotes_no_more_than_sixty_characters() -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_ref("x" * 10_000)

    assert "x" * 60 in caught.value.detail
    assert "x" * 61 not in caught.value.detail


def test_the_examples_of_the_schemes_are_ids_and_are_written_as_they_are_read() -> None:
    examples = [ExternalId(scheme, example) for scheme, (_, example) in SCHEMES.items()]

    assert [fault_of(*example) for example in examples] == [None] * len(examples)
    assert [parse_ref(str(example)) for example in examples] == examples


@pytest.mark.parametrize("text", ["42", "imdb:tt0078748", "tmdb:348", "wikidata:Q103569", "movielens:1214"])
def test_the_pattern_of_the_documentation_takes_what_is_read(text: str) -> None:
    assert re.search(REF_PATTERN, text)
    assert parse_ref(text)


def test_a_record_without_an_id_is_named_by_its_folded_name_and_director() -> None:
    assert fynd_id("The  Wizard of OZ", "Victor Fleming") == ExternalId("fynd", "the-wizard-of-oz-victor-fleming")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Amélie", "Amelie"), ("Batman", "Batman!"), ("ハハ", "パパ"), ("शोले", "शाला"), ("!!!", "???"), ("A B", "A-B")],
)
def test_names_that_fold_alike_and_are_two_have_two_ids(one: str, other: str) -> None:
    made = {fynd_id(one, "Ann"), fynd_id(other, "Ann"), fynd_id(one.upper(), "ANN")}

    assert len(made) == 2
    assert [fault_of(*external) for external in made] == [None, None]


def test_movies_of_one_name_and_two_directors_have_two_ids() -> None:
    assert fynd_id("Titanic", "James Cameron") != fynd_id("Titanic", "Jean Negulesco")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Alien Two", "Ridley Scott"), ("Alien", "Two Ridley Scott")),
        (("Alien Ridley", "Scott"), ("Alien", "Ridley Scott")),
        (("Alien Ridley Scott", ""), ("Alien", "Ridley Scott")),
        (("", "Ridley Scott"), ("Ridley", "Scott")),
        (("Alien", f"Ann {fynd_id('Alien Ann', '').value[-10:]}"), ("Alien Ann", "")),
    ],
)
def test_the_words_of_a_name_and_of_a_director_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert fynd_id(*one) != fynd_id(*other)


@pytest.mark.parametrize(
    ("name", "director", "former"),
    [
        ("Amélie", "Jean-Pierre Jeunet", "amelie-jean-pierre-jeunet"),
        ("The Godfather", "Francis Ford Coppola", "the-godfather-francis-ford-coppola"),
        ("8½", "Federico Fellini", "81-2-federico-fellini"),
        ("शोले", "Ramesh", "श-ल-ramesh"),
        ("Fast & Furious", "Ø", "fast-and-furious-o"),
        ("a" * 198 + " b", "", "a" * 198 + "-b"),
        ("a" * 199 + " b", "", "a" * 199),
    ],
)
def test_the_id_that_versions_before_gave_a_record_is_known(name: str, director: str, former: str) -> None:
    assert former_fynd_id(name, director) == ExternalId("fynd", former)


@pytest.mark.parametrize("name", ["The Wizard of Oz", "!!!"])
def test_a_record_whose_id_is_the_same_or_that_had_none_has_no_former_id(name: str) -> None:
    assert former_fynd_id(name, "Victor Fleming" if name != "!!!" else "") is None


def test_ids_that_are_cut_off_are_well_formed_and_differ() -> None:
    made = {fynd_id("a" * 188, director) for director in ("Scott", "Smith")}

    assert len(made) == 2
    assert [fault_of(*external) for external in made] == [None, None]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(max_size=250), st.text(max_size=30))
def test_every_made_id_is_well_formed_unless_the_names_have_no_letter(name: str, director: str) -> None:
    made = fynd_id(name, director)

    assert made.value == "" or fault_of(*made) is None

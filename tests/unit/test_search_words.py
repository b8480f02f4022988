"""What a search asks of the full-text index: whatever people type, only folded, quoted words reach it."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from contextlib import closing

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from matinee.domain.search import (
    FIRST,
    MAX_WORDS,
    SYMBOLS,
    WHOLE,
    WRITTEN,
    Words,
    contains,
    exact,
    people_match,
    starts,
    tiers,
    title_marks,
    words_of,
)
from matinee.domain.text import fold
from matinee.storage.search_index import CREATE

# What people type, and what the language of the index would take for its own.
OPERATORS = ["AND", "OR", "NOT", "NEAR(", '"', "'", "*", "^", ":", "{title}", "-", "(", ")", "\x00", "+", ";--"]
TYPED = st.text(max_size=30) | st.lists(st.sampled_from([*OPERATORS, "alien", "É"]), max_size=8).map(" ".join)
GRAMMAR = re.compile(r"(\{[a-z_ ]+\}|marks|AND|OR|NOT|[():^*]|\s)*")


def expressions(text: str) -> list[str]:
    """Return every expression that can be made of a text."""
    words = words_of(text)
    assume(words.forms)
    plain = [exact(words), starts(words), contains(words), people_match(words)]
    return [*plain, *tiers(words, [[1, 2], [3]], 1979), *tiers(words, [], None, titles_only=True)]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(TYPED)
def test_an_expression_holds_only_grammar_and_quoted_folded_words(text: str) -> None:
    for expression in expressions(text):
        outside, quoted = expression.split('"')[::2], expression.split('"')[1::2]

        assert len(outside) == len(quoted) + 1
        assert GRAMMAR.fullmatch(" ".join(outside)), expression
        signs = {sign for part in quoted for word in part.split(" ") for sign in word} - {FIRST, WHOLE, WRITTEN, SYMBOLS}
        assert all(unicodedata.category(sign)[0] in "LNM" for sign in signs)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(TYPED)
def test_the_index_takes_every_expression(text: str) -> None:
    asked = expressions(text)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(CREATE)

        answers = [database.execute("SELECT rowid FROM movie_search(?)", (each,)).fetchall() for each in asked]

    assert answers == [[]] * len(asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Alien", Words(("alien",), ("alien",))),
        ("Spider-Man 2", Words(("spider", "man", "2"), ("spiderman", "2"))),
        ("WALL·E & Eve", Words(("wall", "e", "and", "eve"), ("walle", "and", "eve"))),
        ('"; --', Words(("\ue006000220003b0002d0002d",), ("\ue006000220003b0002d0002d",))),  # symbols alone are one word
        (" \u200b", Words((), ())),
    ],
)
def test_a_text_is_read_in_two_ways(text: str, words: Words) -> None:
    assert words_of(text) == words


def test_ways_of_reading_that_are_alike_count_once() -> None:
    assert words_of("Alien").forms == (("alien",),)
    assert words_of("Spider-Man").forms == (("spider", "man"), ("spiderman",))
    assert words_of("\u3164 \u200b").forms == ()


def test_no_more_than_the_first_words_are_searched_for() -> None:
    words = words_of("a-b " * 100)

    assert (len(words.apart), len(words.joined)) == (MAX_WORDS, MAX_WORDS)


def test_nobody_can_type_a_mark() -> None:
    assert words_of(f"{WHOLE}alien {FIRST}") == words_of("alien")


def test_the_tiers_meet_each_movie_once_and_the_best_first() -> None:
    titles = {1: "alien", 2: "alien resurrection", 3: "my alien friend", 4: "aliens", 5: "elsewhere", 6: "Álien"}
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(CREATE)
        rows = [(key, fold(title), " ".join(title_marks(title))) for key, title in titles.items()]
        database.executemany("INSERT INTO movie_search (rowid, title, marks) VALUES (?, ?, ?)", rows)

        found = [
            [row[0] for row in database.execute("SELECT rowid FROM movie_search(?) ORDER BY rowid", (tier,))]
            for tier in tiers(words_of("alien"), [], None)
        ]

    assert found == [[1], [6], [2, 4], [3]]


def test_a_year_parts_each_tier_and_facets_narrow_it() -> None:
    with_year = tiers(words_of("alien"), [[1, 2], [3]], 1979)

    endings = [expression.partition(' AND marks : ("f1"')[2] for expression in with_year]
    assert (
        endings
        == [
            ' OR "f2") AND marks : ("f3") AND marks : ("y1979")',
            ' OR "f2") AND marks : ("f3") AND marks : ("y1978" OR "y1980")',
        ]
        * 4
    )

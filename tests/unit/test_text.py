"""Folding: both sides of a search meet on the same words, however they were typed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.domain.text import fold, fold_joined, slug


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ALIEN", "alien"),
        ("Amélie", "amelie"),
        ("Ame\u0301lie", "amelie"),
        ("Straße", "strasse"),
        ("Ødegård Æon Łódź Œuvre Þór", "odegard aeon lodz oeuvre thor"),
        ("İstanbul", "istanbul"),
        ("H₂O", "h2o"),
        ("\uff21\uff4c\uff49\uff45\uff4e", "alien"),  # full width
    ],
)
def test_case_and_marks_do_not_matter(text: str, folded: str) -> None:
    assert (fold(text), fold_joined(text)) == (folded, folded)


@pytest.mark.parametrize(
    ("text", "apart", "joined"),
    [
        ("Spider-Man", "spider man", "spiderman"),
        ("Spider‑Man", "spider man", "spiderman"),
        ("WALL·E", "wall e", "walle"),
        ("WALL•E", "wall e", "walle"),
        ("Ocean's Eleven", "ocean s eleven", "oceans eleven"),
        ("Ocean’s Eleven", "ocean s eleven", "oceans eleven"),
        ("S.W.A.T.", "s w a t", "swat"),
        ("Face/Off", "face off", "faceoff"),
        ("A_B", "a b", "ab"),
        ("Rock 'n' Roll", "rock n roll", "rock n roll"),
    ],
)
def test_punctuation_within_words_parts_them_or_joins_them(text: str, apart: str, joined: str) -> None:
    assert (fold(text), fold_joined(text)) == (apart, joined)


@pytest.mark.parametrize("text", ["Fast & Furious", "Fast&Furious", "Fast and Furious", "FAST  AND-FURIOUS"])
def test_an_ampersand_is_the_word_and(text: str) -> None:
    assert fold(text) == "fast and furious"


def test_an_ampersand_beside_letters_with_marks_is_the_word_and() -> None:
    assert fold("Café&Crème") == fold_joined("Café&Crème") == "cafe and creme"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("千と千尋の神隠し", "千と千尋の神隠し"),
        ("Сталкер", "сталкер"),
        ("Ёлка", "елка"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("기생충", fold("기생충")),
    ],
)
def test_other_scripts_keep_their_letters(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert folded


@pytest.mark.parametrize("text", ["", " ", "...", "-", "_", "!?", "\ue000"])
def test_signs_alone_fold_to_nothing(text: str) -> None:
    assert (fold(text), fold_joined(text)) == ("", "")


def test_a_slug_is_the_folded_words_with_hyphens() -> None:
    assert slug("  The Wizard of Öz! ") == "the-wizard-of-oz"


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_folded_text_holds_only_letters_digits_and_single_blanks(text: str) -> None:
    for folded in (fold(text), fold_joined(text)):
        words = folded.split(" ") if folded else []

        assert all(word.isalnum() for word in words), folded


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_the_two_ways_of_folding_hold_the_same_letters(text: str) -> None:
    assert fold(text).replace(" ", "") == fold_joined(text).replace(" ", "")

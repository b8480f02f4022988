"""Folding: both sides of a search meet on the same words, however they were typed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.domain.ranking import title_key
from matinee.domain.text import fold, fold_joined, identity, parts_of, slug


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
        ("शोले", "शोले"),  # vowel signs are letters
        ("தமிழ்", "தமிழ்"),
        ("ที่รัก", "ที่รัก"),
        ("ﾊﾟﾊﾟ", fold("パパ")),  # half width
        ("مُحَمَّد", "محمد"),
        ("אֱלֹהִים", "אלהים"),
        ("Ορέστης", "ορεστησ"),
        ("می\u200cخواهم", "میخواهم"),
        ("Ali\u200ben\u2060", "alien"),
        ("8½", "8 1 2"),
        ("9½ Weeks", fold("9 1/2 weeks")),
        ("Naked Gun 33⅓", fold("naked gun 33 1/3")),
        ("Alien³", "alien 3"),
        ("★ Star ☆", "star"),
        ("スター・ウォーズ", fold("スター ウォーズ")),
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

        assert all(unicodedata.category(sign)[0] in "LNM" for word in words for sign in word), folded


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_the_two_ways_of_folding_hold_the_same_letters(text: str) -> None:
    assert fold(text).replace(" ", "") == fold_joined(text).replace(" ", "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("शोले", "शाला"), ("ハハ", "パパ"), ("カス商事", "ガス商事"), ("Amélie", "Amelie"), ("Spider-Man", "Spider Man"),
        ("й", "и"), ("ё", "е"), ("ά", "α"), ("أ", "ا"), ("שׁ", "ש"), ("A", "\uff21"), ("8½", "8 1/2"), ("A\u200bB", "AB"),
    ],
)  # fmt: skip
def test_names_that_differ_in_a_mark_or_a_sign_are_two(one: str, other: str) -> None:
    assert identity(one) != identity(other)


@pytest.mark.parametrize(
    ("one", "other"), [("ALIEN", "alien"), ("AME\u0301LIE", "amélie"), ("STRASSE", "straße"), ("ΣΑΣ", "σας")]
)
def test_names_that_differ_in_case_or_composition_are_one(one: str, other: str) -> None:
    assert identity(one) == identity(other)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=20))
def test_texts_of_one_identity_share_every_fold(text: str) -> None:
    same = identity(text)

    assert (fold(same), fold_joined(same), title_key(same)) == (fold(text), fold_joined(text), title_key(text))
    assert identity(same) == same


@pytest.mark.parametrize(
    ("word", "asked", "indexed"),
    [
        ("神隠し", ["神隠", "隠し"], ["神", "神隠", "隠", "隠し", "し"]),
        ("神", [], []),
        ("東京2020", ["東京", "2020"], ["東", "東京", "京", "2020"]),
        ("2020年", ["2020", "年"], ["2020", "年"]),
        ("alien", [], []),
        ("сталкер", [], []),
    ],
)
def test_words_of_scripts_without_blanks_are_found_by_pairs_of_neighbours(
    word: str, asked: list[str], indexed: list[str]
) -> None:
    assert (parts_of(fold(word)), parts_of(fold(word), indexed=True)) == (asked, indexed)

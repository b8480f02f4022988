"""Passwords that a guesser tries first, with digits, signs, other words or invisible characters around them."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from matinee.http.admin.password_rules import HardToGuess, are_alike


class _User:
    first_name = last_name = email = ""

    def get_username(self) -> str:
        return "admin"


@pytest.mark.parametrize(
    "password",
    [
        "administrator1",
        "Administrator2026",
        "!administrator!!",
        "starwars1234",
        "computer1234",
        "michael12345",
        "12-Dragonfly-34",
    ],
)
def test_a_common_word_with_digits_around_it_is_refused(password: str) -> None:
    with pytest.raises(ValidationError, match="easy to guess"):
        HardToGuess().validate(password, _User())


def test_several_words_that_no_list_has_are_taken() -> None:
    HardToGuess().validate("blue kettle on the roof", _User())


@pytest.mark.parametrize("added", ["\u200b", "\u2060", "\ufe0f", "\ufeff", "\u00ad"])
def test_a_character_that_is_not_seen_makes_no_other_password(added: str) -> None:
    assert are_alike(f"blue{added} kettle on the roof", "blue kettle on the roof")

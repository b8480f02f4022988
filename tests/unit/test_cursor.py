"""Cursors: what we made for this query is accepted, and nothing else."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.domain.cursor import CursorSigner
from matinee.domain.query import parse_list
from matinee.errors import InvalidCursor

SIGNER = CursorSigner("a secret of the tests")
DIGEST = parse_list([("genre", "Drama")]).digest()
CURSOR = SIGNER.make(DIGEST, (95.0, 42))
KEYS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20), max_size=4).map(tuple)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(KEYS)
def test_a_cursor_gives_back_the_keys_that_it_was_made_of(after: tuple[Any, ...]) -> None:
    assert SIGNER.read(DIGEST, SIGNER.make(DIGEST, after)) == after


def test_no_cursor_is_the_first_page() -> None:
    assert SIGNER.read(DIGEST, None) is None


def test_a_cursor_needs_no_escaping_in_an_address() -> None:
    letters = {letter for number in range(200) for letter in SIGNER.make(DIGEST, (number, "ÿþ?>"))}

    assert all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in letters)


def test_a_cursor_with_any_bit_flipped_is_refused() -> None:
    raw = base64.urlsafe_b64decode(CURSOR + "=" * (-len(CURSOR) % 4))
    damaged = [bytes([*raw[:place], raw[place] ^ 1 << bit, *raw[place + 1 :]]) for place in range(len(raw)) for bit in range(8)]

    for wrong in damaged:
        with pytest.raises(InvalidCursor, match="is damaged or was not made by this catalogue"):
            SIGNER.read(DIGEST, base64.urlsafe_b64encode(wrong).rstrip(b"=").decode())


@pytest.mark.parametrize("length", range(len(CURSOR)))
def test_a_cursor_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(InvalidCursor, match="is damaged"):
        SIGNER.read(DIGEST, CURSOR[:length])


def test_every_other_letter_at_every_place_is_refused() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [CURSOR[:at] + new + CURSOR[at + 1 :] for at in range(len(CURSOR)) for new in alphabet if new != CURSOR[at]]

    for other in others:
        with pytest.raises(InvalidCursor):
            SIGNER.read(DIGEST, other)


@pytest.mark.parametrize("keys", [(1,), (1, "a"), (1, "ab"), (1, "abc")])
def test_another_text_of_the_same_bytes_is_refused(keys: tuple[Any, ...]) -> None:
    cursor = SIGNER.make(DIGEST, keys)
    padding = "=" * (-len(cursor) % 4)
    texts = [cursor + "=", cursor + "====", cursor + "\n", " " + cursor, cursor[:4] + "!" + cursor[4:]]

    for text in [*texts, *([cursor + padding] if padding else [])]:
        with pytest.raises(InvalidCursor, match="is damaged"):
            SIGNER.read(DIGEST, text)


@pytest.mark.parametrize("text", ["", "x", "é", "\ud800", "=", "AAAA", "A" * 1_200])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor, match="copy next_cursor as it is, or leave it out"):
        SIGNER.read(DIGEST, text)


@pytest.mark.parametrize(
    "other",
    [[("genre", "Comedy")], [("genre", "Drama"), ("sort", "title")], [("language", "Drama")], [("genre", "Drama|Comedy")]],
)
def test_a_cursor_of_another_query_is_refused_and_the_message_says_so(other: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidCursor) as caught:
        SIGNER.read(parse_list(other).digest(), CURSOR)

    assert caught.value.detail == (
        "cursor was made for another query; keep filters and sort as they were when you follow next_cursor, "
        "or leave the cursor out to begin at the first page."
    )


def test_a_cursor_of_another_secret_is_refused_whatever_the_query() -> None:
    foreign = CursorSigner("another secret").make(DIGEST, (95.0, 42))

    with pytest.raises(InvalidCursor, match="was not made by this catalogue"):
        SIGNER.read(DIGEST, foreign)

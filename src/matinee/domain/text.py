"""Fold text so that case, diacritics and punctuation do not matter when people search or filter.

Called when a document is written and when a query is read, on every engine: both sides must fold alike, or a
title cannot be found. So changing a rule here needs the search texts rebuilt (`matinee migrate` says so).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Letters that NFKD does not take apart, with what people type for them.
_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i", "ŋ": "n", "&": " and "}
)
_WORD = re.compile(r"[^\W_]+")
_GLUE = re.compile(r"(?<=[^\W_])['’‘ʼ`´.·•\-‐‑‒–—/_]+(?=[^\W_]|\s|$)")


def _plain(text: str) -> str:
    if text.isascii():  # nine texts of ten; the rest costs ten times as much
        return text.lower().replace("&", " and ")
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN_LETTERS))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()


@lru_cache(maxsize=8192)  # genres, countries and names of people come again and again in an import
def fold(text: str) -> str:
    """Return the words of a text, lower case, without marks, parted by one blank: "Spider-Man" is "spider man"."""
    return " ".join(_WORD.findall(_plain(text)))


@lru_cache(maxsize=8192)
def fold_joined(text: str) -> str:
    """Return the same with words that punctuation parts written as one: "Spider-Man" is "spiderman".

    `fold` and `fold_joined` of a title are both indexed, so that either way of typing it finds it.
    """
    return " ".join(_WORD.findall(_GLUE.sub("", _plain(text))))


def slug(text: str) -> str:
    """Return the folded text with hyphens, fit for an id: "The Wizard of Oz" is "the-wizard-of-oz"."""
    return fold(text).replace(" ", "-")

"""Say what is wrong with a new password: length, patterns, and words that a guesser tries first. Pure; called by the admin.

Must never store or log a password, nor put it in a reason.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MIN_CHARS = 12
MAX_CHARS = 256
_MIN_CORE_CHARS = 8  # without repetitions
_MIN_LETTERS, _MIN_REST_CHARS = 4, 8  # what is left without guessable parts: so many letters, or so many characters
_MIN_NAME_CHARS = 3  # a shorter name is a part of many words
_MIN_RUN = 3
_COMMON = (
    "administrator", "password", "passwort", "passw0rd", "p@ssword", "p@ssw0rd", "pa$$word", "matinee", "admin", "adm1n",
    "welcome", "letmein", "changeme", "secret", "iloveyou", "monkey", "dragon", "football", "superman", "batman", "sunshine",
    "princess", "movies", "movie", "default", "login", "master", "root", "user", "test", "guest", "hello",
)  # fmt: skip
_RUNS = (
    "abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba", "01234567890", "09876543210", "qwertyuiop", "qwertzuiop",
    "azertyuiop", "asdfghjkl", "yxcvbnm", "zxcvbnm", "!@#$%^&*()", "1q2w3e4r5t6y7u8i9o0p",
)  # fmt: skip


def weakness(password: str, names: Iterable[str] = ()) -> str | None:
    """Return what is wrong with a new password, None when nothing is. `names`: the user's own names and e-mail address."""
    plain = plainly(password)
    if len(password) > MAX_CHARS:
        return f"It has more than {MAX_CHARS} characters; choose a shorter one."
    if len(plain) < MIN_CHARS:
        return f"It has fewer than {MIN_CHARS} characters, blanks not counted; choose a longer one."
    if re.sub(r"[-./:,]", "", plain).isdigit():
        return "It has digits only; add words."
    if len(re.sub(r"(.+?)\1+", r"\1", plain)) < _MIN_CORE_CHARS:
        return "It repeats the same characters; choose one that does not."
    # The longest first: without the user's name "admin", "administrator" would no longer be seen.
    words = sorted([*_names(names), *_COMMON], key=len, reverse=True)
    rest = _without(_without(plain, words), _runs(plain))
    if sum(map(str.isalpha, rest)) < _MIN_LETTERS and len(rest) < _MIN_REST_CHARS:
        return "It is made of names, common words and sequences, as password1234 is; choose something else."
    return None


def visible(password: str) -> str:
    """Return a password without characters that are not seen, such as zero-width ones and variation selectors."""
    return "".join(char for char in password if unicodedata.category(char) != "Cf" and not "\ufe00" <= char <= "\ufe0f")


def plainly(password: str) -> str:
    """Return a password as it is seen, without blanks, case and compatibility forms. Two that are equal then are too alike."""
    return "".join(unicodedata.normalize("NFKC", visible(password)).casefold().split())


def _names(names: Iterable[str]) -> list[str]:
    """Return a user's names and their parts in plain form."""
    parts = {plainly(part) for name in names for part in (name, *re.split(r"[\W_]+", name))}
    return [part for part in parts if len(part) >= _MIN_NAME_CHARS]


def _runs(plain: str) -> list[str]:
    """Return the sequences of the alphabet and the keyboard in a password, long ones first."""
    spans = ((at, end) for at in range(len(plain)) for end in range(at + _MIN_RUN, min(len(plain), at + 26) + 1))
    found = {plain[at:end] for at, end in spans if any(plain[at:end] in run for run in _RUNS)}
    return sorted(found, key=len, reverse=True)


def _without(text: str, parts: Iterable[str]) -> str:
    for part in parts:
        text = text.replace(part, "")
    return text

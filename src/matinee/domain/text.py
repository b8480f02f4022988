"""Two ways to compare text: `identity` says whether two names are the same one, `fold` says what a search finds.

Identity is exact but for letter case and Unicode composition. Folding is loose: case, accents, vowel points and punctuation do
not matter. Folding must never decide whether two records are one.
Called when a document is written and when a query is read, on every engine. Both sides must fold alike, or a title cannot be
found. After a change of a rule here, raise `FOLDING`: `matinee migrate` then rebuilds every stored fold and the search index.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FOLDING = 2  # the version of the rules below; the catalogue stores the one that its folds were made with

# Letters that NFKD does not decompose, with what people type for them.
PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i", "ŋ": "n", "&": " and "}
)
_WORD = re.compile(r"[^\W_]+")
_GLUE_SIGNS = "'’‘ʼ`´.·•・‐‑‒–—/_-"  # the hyphen last, where a class of a pattern takes it for itself
_GLUE_ASCII = re.compile(r"(?<=[^\W_])['`.\-/_]+(?=[^\W_]|\s|$)")
_GLUE = re.compile(rf"(?<=[^\s{_GLUE_SIGNS}])[{_GLUE_SIGNS}]+")
_ANY_GLUE = re.compile(rf"[{_GLUE_SIGNS}]+")
_RAISED = re.compile(r"(?<=\w)[⁰¹²³⁴-⁹]+")  # "Alien³" is typed as "alien 3" and as "alien3"
_FRACTION = re.compile(r"[¼-¾⅐-⅞↉]")  # "8½" is typed as "8 1/2"

# Marks that readers leave out when they type: accents, Arabic and Hebrew vowel points, variation selectors. Marks of other
# scripts (Indic vowel signs, Thai tones, the kana's voicing marks) tell words apart and stay.
_OPTIONAL_MARKS = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670),
    (0x06D6, 0x06ED), (0x0730, 0x074A), (0x08D3, 0x08FF), (0x180B, 0x180F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0xE0100, 0xE01EF),
)  # fmt: skip
# Letters and symbols of their category that show nothing: Hangul fillers, the empty Braille cell, a musical placeholder.
BLANK_SIGNS = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")
_TATWEEL = "\u0640"  # stretches an Arabic word and is no letter of it

# Scripts that are written without blanks between words, by what stands for one unit of reading: a Hangul syllable (decomposed),
# a kana with its mark, a character. In the last group, everything else.
_UNITS = re.compile(
    r"[\u1100-\u115e\ua960-\ua97c][\u1161-\u11a7\ud7b0-\ud7c6]?[\u11a8-\u11ff\ud7cb-\ud7fb]?"
    r"|[\u3005-\u3007\u3041-\u3096\u309d-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
    r"[\u3099\u309a]?"
    r"|[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]"
    r"|([^\u1100-\u115e\ua960-\ua97c\u3005-\u3007\u3041-\u3096\u309d-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\U00020000-\U0003ffff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]+)"
)
MAX_PARTS = 64  # that one word of a search is looked for by


@lru_cache(maxsize=8192)  # genres, countries and names of people recur in an import
def identity(text: str) -> str:
    """Return what two names must share to be the same name: NFC(casefold(NFC(text))), nothing else.

    "ALIEN" and "Alien" are one; "Amelie" and "Amélie", "ハハ" and "パパ", "Spider-Man" and "Spider Man" are not.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def is_visible(text: str) -> bool:
    """Return whether a text shows anything: a letter, digit, punctuation or symbol that is not blank."""
    if text.isascii():
        return any(33 <= ord(sign) < 127 for sign in text)
    return any(unicodedata.category(sign)[0] in "LNPS" and sign not in BLANK_SIGNS for sign in text)


class _Signs(dict[int, str | None]):
    """What folding makes of each decomposed character: itself, nothing, or a blank. Filled as characters are met."""

    def __missing__(self, code: int) -> str | None:
        self[code] = kept = _kept(chr(code))
        return kept


def _kept(sign: str) -> str | None:
    category = unicodedata.category(sign)
    if sign in BLANK_SIGNS or sign == _TATWEEL or category == "Cf":
        return None
    if category[0] == "M":
        return None if any(first <= ord(sign) <= last for first, last in _OPTIONAL_MARKS) else sign
    return sign if category[0] in "LN" or sign in _GLUE_SIGNS else " "


_signs = _Signs()


def _plain(text: str) -> str:
    """Return a text that is not ASCII in lower case, decomposed, of words, glue and blanks only."""
    text = unicodedata.normalize("NFC", text)
    text = _FRACTION.sub(lambda found: " " + unicodedata.normalize("NFKC", found[0]).replace("\u2044", "/"), text)
    text = _RAISED.sub(lambda found: "·" + unicodedata.normalize("NFKC", found[0]), text)
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(PLAIN_LETTERS)).replace("\u2044", "/")
    return unicodedata.normalize("NFKD", decomposed.translate(_signs).casefold())


@lru_cache(maxsize=8192)
def fold(text: str) -> str:
    """Return the words of a text, lower case, without accents, separated by one blank: "Spider-Man" is "spider man"."""
    if text.isascii():  # nine texts of ten
        return " ".join(_WORD.findall(text.lower().replace("&", " and ")))
    return " ".join(_ANY_GLUE.sub(" ", _plain(text)).split())


@lru_cache(maxsize=8192)
def fold_joined(text: str) -> str:
    """Return the same with words that punctuation separates written as one: "Spider-Man" is "spiderman".

    `fold` and `fold_joined` of a title are both indexed, so that either way of typing it finds it.
    """
    if text.isascii():
        return " ".join(_WORD.findall(_GLUE_ASCII.sub("", text.lower().replace("&", " and "))))
    return " ".join(_ANY_GLUE.sub(" ", _GLUE.sub("", _plain(text))).split())


def parts_of(word: str, *, indexed: bool = False) -> list[str]:
    """Return what a folded word of a script without blanks is found by from its middle; nothing for other words.

    A search needs each pair of neighbours ("神隠し": "神隠", "隠し"), or the character when it is alone. The index holds the
    single characters too. Text of other scripts within the word is a part of its own.
    """
    if word.isascii():
        return []
    found, before = [], ""
    for match in _UNITS.finditer(word):
        unit, is_other = match[0], match[1] is not None
        if before and not is_other:
            found.append(before + unit)
        if is_other or indexed or (not before and _is_alone(word, match.end())):
            found.append(unit)
        before = "" if is_other else unit
    if found == [word]:
        return []
    return list(dict.fromkeys(found if indexed else found[:MAX_PARTS]))


def is_unspaced(word: str) -> bool:
    """Return whether a folded word is, in part, of a script without blanks between words."""
    return not word.isascii() and any(match[1] is None for match in _UNITS.finditer(word))


def _is_alone(word: str, end: int) -> bool:
    following = _UNITS.match(word, end)
    return following is None or following[1] is not None


def slug(text: str) -> str:
    """Return the folded text with hyphens, fit for an id: "The Wizard of Oz" is "the-wizard-of-oz"."""
    return fold(text).replace(" ", "-")

"""What schemathesis loads beside schemathesis.toml when our own test runs it.

The settings allow some refusals of good data by status alone; here each is held to its reason. And each good POST gets an
Idempotency-Key of its own: schemathesis sends `0` again and again, and would see hardly anything but "used before".
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import schemathesis
from schemathesis import GenerationMode

# Why a request that suits the document may be refused all the same, by status. (`ids 'imdb'`: schemathesis fills the
# parameter `ids` with the keys of a movie's own `ids`, which it takes for the same thing.)
_REASONS = {
    400: r"^cursor |cannot stand with ids|^ids has \d+ ids|has \d+ choices|^The query string has"
    r"|^ids '(imdb|tmdb|wikidata|movielens|fynd)' is not",
    404: r"^There is no (movie|person) ",
    409: r"is movie \d+ already|merged into itself|person \d+|^There is no movie|was (deleted|merged)",
    410: r"was (deleted at position|merged into) \d+",
    412: r"is at version \d+ \(ETag|is a weak ETag, which never matches",
    422: r"^Idempotency-Key .* came with another request before|: must show something: it holds only blanks",
}
_numbers = count(1)


def _is_good(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give a good POST a key of its own; one of eight keeps what it has, so that answers are replayed too."""
    number = next(_numbers)
    if _is_good(case) and case.method == "POST" and "Idempotency-Key" in (case.headers or {}) and number % 8:
        case.headers["Idempotency-Key"] = f"key-{number}"


@schemathesis.check
def good_data_is_refused_for_a_known_reason(ctx: Any, response: Any, case: Any) -> None:
    """Fail when good data is refused and the reason is none of those that the document cannot state."""
    if _is_good(case) and response.status_code in _REASONS:
        detail = response.json()["detail"]
        assert re.search(_REASONS[response.status_code], detail), f"refused for an unknown reason: {detail}"

"""What each operation takes and answers, said once beside its handler; openapi.py makes the document of it.

Called by the handlers' modules. Names of answers are the schemas of openapi.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from matinee.domain.ids import REF_PATTERN
from matinee.domain.movie import MAX_PERSON_ID
from matinee.domain.query import Parameter

MOVIE_ID = {
    "name": "movie_id",
    "in": "path",
    "required": True,
    "description": "Our whole number, or another catalogue's id, as imdb:tt0078748.",
    "schema": {"type": "string", "pattern": REF_PATTERN},
    "examples": {"ours": {"value": "42"}, "imdb": {"value": "imdb:tt0078748"}},
}
# For deleting and merging: whoever tries the examples one after another finds the movie of the others still there.
DOOMED_MOVIE_ID = MOVIE_ID | {"examples": {"ours": {"value": "43"}, "imdb": {"value": "imdb:tt0090605"}}}
PERSON_ID = {
    "name": "person_id",
    "in": "path",
    "required": True,
    "description": "The person's id.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PERSON_ID},
}
_ETAG = r'(W/)?"[!#-~]*"'
_ETAGS = rf"^{_ETAG}( *, *{_ETAG})*$"
IF_MATCH_PATTERN = rf"^\*$|{_ETAGS}"
IDEMPOTENCY_KEY_PATTERN = r"^[!-~]+$"
MAX_HEADER_CHARS = 255
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the movie that you read; * for whatever is there.",
    "schema": {
        "type": "string",
        "anyOf": [{"const": "*"}, {"maxLength": MAX_HEADER_CHARS, "pattern": _ETAGS}],
    },
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name of your own for this request; sent again within 24 hours it gets the same answer, once done.",
    "schema": {"type": "string", "maxLength": MAX_HEADER_CHARS, "pattern": IDEMPOTENCY_KEY_PATTERN},
}


@dataclass(frozen=True)
class Operation:
    """One operation: a sentence, its parameters and body, the schemas of its answers by status, and its problems."""

    summary: str
    path: dict[str, Any] | None = None
    query: tuple[Parameter, ...] = ()
    headers: tuple[dict[str, Any], ...] = ()
    body: str | None = None
    body_types: tuple[str, ...] = ("application/json",)
    answers: dict[int, str | None] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    writes: bool = False


def operation(summary: str, **stated: Any) -> dict[str, Operation]:
    """Return what a handler carries as its options."""
    return {"operation": Operation(summary, **stated)}

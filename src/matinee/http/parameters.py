"""What a request carries beside its path: query string, bearer key, JSON body. Called by the handlers."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from matinee.errors import InvalidParameter, MalformedBody, PreconditionRequired, UnsupportedMediaType, WeakETag
from matinee.http.answers import header, plain_etag
from matinee.http.operations import IDEMPOTENCY_KEY_PATTERN, IF_MATCH_PATTERN, MAX_HEADER_CHARS

MAX_QUERY_BYTES = 8_192
MAX_FIELDS = 200


def query_pairs(scope: Any) -> list[tuple[str, str]]:
    """Return the query string's names and values. Raises: InvalidParameter when it is not UTF-8, or far too long."""
    raw: bytes = scope["query_string"]
    if not raw:
        return []
    if len(raw) > MAX_QUERY_BYTES:
        raise InvalidParameter(f"The query string has {len(raw)} bytes; {MAX_QUERY_BYTES} are allowed.")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError as error:
        raise InvalidParameter("The query string is not percent-encoded UTF-8.") from error
    except ValueError as error:
        raise InvalidParameter(f"The query string has more than {MAX_FIELDS} parameters.") from error


def bearer(request: Request[Any, Any, Any]) -> str | None:
    """Return the key of an Authorization header, None when there is none of the Bearer kind."""
    scheme, _, key = (header(request, "authorization") or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def if_match(request: Request[Any, Any, Any]) -> str:
    """Return the ETags of the If-Match header; the weak ones are in it so that a refusal names them.

    Raises: PreconditionRequired when it is missing; InvalidParameter when it is no ETag; WeakETag when all are weak.
    """
    stated = header(request, "if-match")
    if not stated:
        raise PreconditionRequired(
            "Send If-Match with the ETag of the movie that you read, so that nobody's change is overwritten unseen."
        )
    if not _suits(IF_MATCH_PATTERN, stated):
        raise InvalidParameter(f"If-Match {stated[:60]!r} is no ETag; send the movie's ETag as it is, quotes and all, or *.")
    parts = [part.strip() for part in stated.split(",")]
    if all(part.startswith("W/") for part in parts):
        raise WeakETag(
            f"If-Match {stated[:60]!r} is a weak ETag, which never matches; send the strong one, without W/. "
            "A proxy that compresses answers weakens ETags: read the movie without it, or with Accept-Encoding: identity."
        )
    return ",".join(map(plain_etag, parts))


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """Return the Idempotency-Key header, None when it is not there. Raises: InvalidParameter."""
    stated = header(request, "idempotency-key")
    if stated is not None and not _suits(IDEMPOTENCY_KEY_PATTERN, stated):
        raise InvalidParameter(f"Idempotency-Key has 1 to {MAX_HEADER_CHARS} printable ASCII characters without blanks.")
    return stated


def _suits(pattern: str, stated: str) -> bool:
    """Return whether a header's value is what the documentation says of it."""
    return len(stated) <= MAX_HEADER_CHARS and re.fullmatch(pattern, stated) is not None


async def json_body(request: Request[Any, Any, Any], *content_types: str) -> tuple[Any, bytes]:
    """Return the body as JSON's own types, and its bytes. Raises: UnsupportedMediaType, MalformedBody."""
    stated = (header(request, "content-type") or "").partition(";")[0].strip().lower()
    if stated not in content_types:
        raise UnsupportedMediaType(f"Content-Type is {stated or 'missing'!r}; send {' or '.join(content_types)}.")
    raw = await request.body()
    try:
        return msgspec.json.decode(raw), raw
    except RecursionError as error:
        raise MalformedBody("The body is nested too deeply.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error

"""Errors as application/problem+json (RFC 9457): one shape for every error of the API, made in one place.

Called by the front and, as its exception handlers, by the Litestar application.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from litestar import Request
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from matinee.config import Config
from matinee.errors import (
    Gone,
    InternalError,
    MatineeError,
    MethodNotAllowed,
    NotFound,
    OperatorError,
    RequestError,
    RequestTimeout,
    StaleVersion,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from matinee.http.answers import Answer, Headers, base_url
from matinee.http.freshness import told

RETRY_AFTER_S = 1
log = structlog.get_logger("matinee.http")


class ProblemFault(msgspec.Struct):
    """One fault in the document that was sent."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, kw_only=True):
    """An error: what kind, what happened, and what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemFault] = msgspec.field(default_factory=list)
    request_id: str
    current_version: int | None = None


def problem_answer(scope: Any, config: Config, error: MatineeError) -> Answer:
    """Return the answer that tells of an error. Its reason, which may name servers, is logged and never sent."""
    if error.reason:
        log.warning(error.slug, reason=error.reason, path=scope["path"][:200], request_id=scope.get("matinee.request_id"))
    problem = Problem(
        type=f"{base_url(scope, config)}/docs/errors/{error.slug}",
        title=error.title(),
        status=error.status,
        detail=error.detail,
        errors=[ProblemFault(fault.pointer, fault.detail) for fault in error.faults],
        request_id=scope.get("matinee.request_id", ""),
        current_version=error.current_version if isinstance(error, StaleVersion) else None,
    )
    headers = _headers(error)
    if isinstance(error, NotFound | Gone):
        headers += told(scope.get("matinee.as_of"))  # that nothing is there is an answer too, as of a position
    return Answer(error.status, msgspec.json.encode(problem), headers, b"application/problem+json")


def _headers(error: MatineeError) -> Headers:
    headers: Headers = [(b"cache-control", b"no-store")]
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    if isinstance(error, RequestTimeout):
        headers.append((b"connection", b"close"))  # the rest of the body may come at any time: nothing else can follow
    if isinstance(error, TooManyRequests):
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="matinee"'))
    if isinstance(error, MethodNotAllowed) and error.allowed:
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, StaleVersion) and error.current_etag:
        headers.append((b"etag", error.current_etag.encode()))
    return headers


def as_matinee_error(error: Exception, scope: Any) -> MatineeError:
    """Return our own error for one of the framework's, or for a fault of ours, which is logged here."""
    path = scope.get("path", "")
    if isinstance(error, MatineeError) and not isinstance(error, OperatorError):
        return error  # an OperatorError is for the command line: it names files and servers
    if isinstance(error, NotFoundException):
        return NotFound(f"There is nothing at {path[:200]!r}. The addresses stand in /openapi.json and at /docs.")
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "")
        detail = f"{scope['method'][:20]} is not for {path[:200]!r}; it takes {with_head(allowed)}."
        return MethodNotAllowed(detail, allowed=with_head(allowed))
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        return RequestError(f"{error.detail}")
    log.error("fault", exc_info=error, path=path, request_id=scope.get("matinee.request_id"))
    return InternalError("Something went wrong on our side; it is in the log under this request_id.")


def handle(request: Request[Any, Any, Any], error: Exception) -> Any:
    """Answer an error that a handler or the router raised."""
    config: Config = request.app.state.runtime.config
    return Sendable(problem_answer(request.scope, config, as_matinee_error(error, request.scope)))


class Sendable:
    """What Litestar wants of an exception handler: something that turns into an ASGI application."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def to_asgi_response(self, *_: Any, **__: Any) -> Answer:
        """Return the application that sends the answer."""
        return self._answer


def with_head(allowed: str) -> str:
    """Return a list of methods with HEAD wherever GET is: the front answers HEAD for every GET."""
    methods = {part.strip() for part in allowed.split(",") if part.strip()}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))

"""What a person reads when the leader does not take writes right now: a sentence and a 503. A middleware, named in settings.

The forms of the catalogue do better (written.py): they come back with what was typed. This is for everything else: actions,
deletions, signing in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import structlog
from django.core.signals import got_request_exception
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from matinee.errors import LeaderUnavailable, Unavailable
from matinee.storage import leader_link

RETRY_AFTER_S = 1
POSITION_COOKIE = "matinee_position"  # http/freshness.py reads it
POSITION_KEPT_S = 60  # far longer than any follower lags while it is used
log = structlog.get_logger("matinee.admin")


class SayUnavailable:
    """Answer a request that failed because the leader is away or busy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request; one that has written tells the browser its position, so that its reads show the write."""
        leader_link.last_written.set(0)
        _failure.set(None)
        try:
            leader_link.require()  # who is signed in is known to the leader alone, so not even a page can be shown without it
            with leader_link.within_deadline(connection):
                response = self._get_response(request)
        except (Unavailable, *leader_link.LOST) as error:
            return _page(error, request)
        failure = _failure.get()
        if failure is not None:
            return _page(failure, request)
        position = leader_link.last_written.get()
        if position and response.status_code < HTTPStatus.BAD_REQUEST:
            response.set_cookie(POSITION_COOKIE, str(position), max_age=POSITION_KEPT_S, httponly=True, samesite="Lax")
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Return the page for an error of this kind, None for the others."""
        return _page(error, request) if isinstance(error, (Unavailable, *leader_link.LOST)) else None


def _remember(**_: Any) -> None:
    error = sys.exc_info()[1]
    if isinstance(error, (Unavailable, *leader_link.LOST)):
        _failure.set(error)


# What fails in a middleware, such as the one that keeps sessions, Django has made a 500 of before any other can see it.
_failure: ContextVar[Exception | None] = ContextVar("_failure", default=None)
got_request_exception.connect(_remember)


def _page(error: Exception, request: HttpRequest) -> HttpResponse:
    leader_link.drop(connection)
    detail = as_unavailable(error, request).detail
    return with_retry(HttpResponse(render_to_string("matinee_admin/unavailable.html", {"detail": detail})))


def as_unavailable(error: Exception, request: HttpRequest) -> Unavailable:
    """Return what the database says as an error of ours. Its words are logged under the request id, and no page shows them."""
    reason = (error.reason or error.detail) if isinstance(error, Unavailable) else str(error)
    scope = getattr(request, "scope", {})
    log.warning("leader unavailable", reason=reason, request_id=scope.get("matinee.request_id"))
    if isinstance(error, Unavailable):
        return error
    return LeaderUnavailable("The catalogue cannot be written to right now; try again.", reason=f"{error}")


def with_retry(response: HttpResponse) -> HttpResponse:
    """Make an answer a 503."""
    response.status_code = Unavailable.status
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response

"""What a person reads when the leader does not take writes right now: a sentence and a 503. A middleware, named in settings.

The forms of the catalogue do better (written.py): they come back with what was typed. This is for everything else: actions,
deletions, signing in.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from matinee.errors import LeaderUnavailable, Unavailable

RETRY_AFTER_S = 1
log = structlog.get_logger("matinee.admin")


class SayUnavailable:
    """Answer a request that failed because the leader is away or busy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Return the page for an error of this kind, None for the others."""
        if not isinstance(error, Unavailable | OperationalError):
            return None
        text = render_to_string("matinee_admin/unavailable.html", {"detail": as_unavailable(error).detail})
        return with_retry(HttpResponse(text))


def as_unavailable(error: Unavailable | OperationalError) -> Unavailable:
    """Return what the database says as an error of ours; it is logged here."""
    log.warning("leader unavailable", error=str(error))
    if isinstance(error, Unavailable):
        return error
    return LeaderUnavailable(f"The catalogue cannot be written to right now ({error}); try again.")


def with_retry(response: HttpResponse) -> HttpResponse:
    """Make an answer a 503."""
    response.status_code = Unavailable.status
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response

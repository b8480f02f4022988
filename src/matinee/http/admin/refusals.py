"""Pages that tell a person why a request was refused and what to do: a 4xx of ours, and Django's CSRF check.

`TellRefusal` is a middleware and `csrf_failure` a view; settings name both. They must never show an internal address.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware import csrf
from django.template.loader import render_to_string

from matinee.errors import RequestError, TooManyRequests
from matinee.http.admin.sign_in import address_of, logged
from matinee.http.client import client_group

log = structlog.get_logger("matinee.admin")

_LIFTED = (
    "An operator can lift this: `matinee user blocked` shows whether the account or the address is blocked; then "
    "`matinee user unlock NAME`, or `matinee user unlock --address ADDRESS`."
)
_NO_COOKIE = (
    "Your browser did not send the cookie that belongs to this form.",
    (
        "Allow cookies for this site, open the form again, and send it again. If it happens at every attempt: in production "
        "the cookies travel over HTTPS only, so open the admin by its https:// address."
    ),
)
_OLD_FORM = (
    "This form is too old: somebody signed in or out in this browser after it was opened.",
    "Nothing was saved. Open the form again and send it again; use the Back button to copy what you typed.",
)
_ORIGIN = (
    "The form was sent from {origin}, which is not an address of this service.",
    (
        "If you opened the admin by that address: the operator adds its name to ALLOWED_HOSTS, and sets MATINEE_PUBLIC_URL to "
        "the address that browsers use, with https:// where they use it. If you did not, another site sent this form; close it."
    ),
)
_NO_ORIGIN = (
    "Your browser did not say which page sent this form.",
    "Allow the Referer header for this site, or use another browser, and send the form again.",
)


class TellRefusal:
    """Answer a request that a view refused with an error of ours."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Return the page for a refusal, None for other errors."""
        if not isinstance(error, RequestError):
            return None
        if not isinstance(error, TooManyRequests):
            return refusal_page(error.status, error.title(), error.detail, "Go back, and change what you sent.")
        wait = f"Wait {error.retry_after_s} seconds, then try again. {_LIFTED}"
        response = refusal_page(error.status, "Too many attempts", error.detail, wait)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response


def refusal_page(status: int, title: str, detail: str, remedy: str) -> HttpResponse:
    """Return a small page that says what is wrong and what to do."""
    page = render_to_string("matinee_admin/refused.html", {"title": title, "detail": detail, "remedy": remedy})
    response = HttpResponse(page, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return a 403 that says what was wrong with a form, and log it."""
    client = address_of(request)
    seen = {"reason": logged(reason), "path": logged(request.path), "client": client}
    log.warning("form refused", **seen, counted_by=client_group(client))
    detail, remedy = _explained(request, reason)
    return refusal_page(403, "This form was refused", detail, remedy)


def _explained(request: HttpRequest, reason: str) -> tuple[str, str]:
    if reason == csrf.REASON_NO_CSRF_COOKIE:
        return _NO_COOKIE
    if reason in {csrf.REASON_NO_REFERER, csrf.REASON_MALFORMED_REFERER}:
        return _NO_ORIGIN
    if reason.startswith(("Origin checking failed", "Referer checking failed")):
        origin = request.headers.get("Origin") or request.headers.get("Referer") or "another page"
        return _ORIGIN[0].format(origin=logged(origin)), _ORIGIN[1]
    return _OLD_FORM

"""Headers that tell the browser what the admin's pages may do, and a 405 for methods that no page has.

A middleware; settings name it first, so no page is without.

Scripts come from our own files only: no inline script, no other host. unfold needs three exceptions. Alpine.js evaluates
the expressions in its attributes ('unsafe-eval'); unfold writes a <style> with its colours and Alpine and select2 set style
attributes ('unsafe-inline' for styles); its arrows are data: images.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase

CONTENT_SECURITY_POLICY = "; ".join((
    "default-src 'self'",
    "script-src 'self' 'unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-src 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
_METHODS = ("GET", "HEAD", "POST")
_UNUSED_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED_FEATURES),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageHeaders:
    """Add the headers to each answer, and keep it out of every cache unless it says otherwise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request. Its cookies belong to the path of MATINEE_PUBLIC_URL, not to other services of that host."""
        response = self._get_response(request) if request.method in _METHODS else HttpResponseNotAllowed(_METHODS)
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        for cookie in response.cookies.values():  # Django gives some of them the whole host
            cookie["path"] = settings.SESSION_COOKIE_PATH
        return response

"""Whoever signs in with a printed password changes it before anything else. A middleware, named in settings."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from matinee.storage.models import OneTimePassword

# What a user in that state may still open; the last one is the script of the page's own texts.
_ALLOWED = ("admin:password_change", "admin:password_change_done", "admin:logout", "admin:login", "admin:jsi18n")
_WHY = "Your password was printed when your account was made, so others may have read it. Choose your own to go on."


class ChangeOneTimePassword:
    """Send a signed-in user whose password is still the printed one to the page that changes it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request, or redirect it."""
        if not self._may_pass(request):
            messages.warning(request, _WHY)
            return HttpResponseRedirect(reverse("admin:password_change"))
        return self._get_response(request)

    def _may_pass(self, request: HttpRequest) -> bool:
        if request.path.startswith(settings.STATIC_URL) or request.path in {reverse(name) for name in _ALLOWED}:
            return True
        user = request.user
        if not user.is_authenticated:
            return True
        # The row stays after the change: as soon as the hashes differ, it says nothing any more.
        return not OneTimePassword.objects.filter(user_id=user.pk, password_hash=user.password).exists()

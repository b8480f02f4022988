"""The sign-in form, with its limits and its log lines, and the form in which users change their own password.

Called by site.py. Each attempt is counted before a password is hashed (write/sign_ins.py). A refused one is a 429 page, made
by refusals.py. Must never log a password, nor tell an unknown account from a wrong password.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from matinee.errors import TooManyRequests
from matinee.http.admin.new_passwords import StoredAlone
from matinee.http.admin.password_rules import are_alike, refuse_same
from matinee.http.client import client_group, client_site
from matinee.write import sign_ins

_LOGGED_CHARS = 64
log = structlog.get_logger("matinee.admin")


def address_of(request: HttpRequest) -> str:
    """Return the client's address, which sign_in_slots.py has put here; empty when it is unknown."""
    address: str = request.META.get("REMOTE_ADDR") or ""
    return address


def logged(text: str) -> str:
    """Return what a client typed as it may stand in a log line: short, and on one line."""
    return "".join(sign if sign.isprintable() else "�" for sign in text[:_LOGGED_CHARS])


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Name and password, checked within the limits."""

    def clean(self) -> dict[str, Any]:
        """Check the password. Raises: ValidationError; TooManyRequests before anything is hashed."""
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password:
            return dict(super().clean())
        group = client_group(address_of(self.request))
        seen = {"account": logged(name), "client": address_of(self.request), "counted_by": group}
        try:
            attempt = sign_ins.begin(name, group, client_site(address_of(self.request)))
            cleaned: dict[str, Any] = super().clean()
        except TooManyRequests as error:
            log.warning("sign-in blocked", **seen, retry_after_s=error.retry_after_s)
            raise
        except ValidationError:
            log.warning("sign-in failed", **seen)
            raise
        attempt.succeeded()
        log.info("sign-in", **seen)
        Session.objects.filter(expire_date__lt=timezone.now()).delete()
        return cleaned


class OwnPasswordForm(StoredAlone, AdminOwnPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """A signed-in user's old and new password."""

    def clean(self) -> dict[str, Any]:
        """Refuse a new password that differs from the old one in blanks and case only."""
        cleaned: dict[str, Any] = super().clean()
        old, new = cleaned.get("old_password"), cleaned.get("new_password1")
        if old and new and are_alike(new, old):
            try:
                refuse_same()
            except ValidationError as error:
                self.add_error("new_password2", error)
        return cleaned

    def save(self, commit: bool = True) -> User:
        """Store the new password."""
        user: User = super().save(commit)
        log.info("password changed", account=logged(user.get_username()), is_always_written=True)
        return user

"""Django's validators of new passwords; settings name them, and every form that sets a password runs them.

A new password must be hard to guess (domain/passwords.py) and must differ from the current one and from the printed one.
"""

from __future__ import annotations

import string
from functools import cache
from typing import Any

from django.contrib.auth.hashers import check_password
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from matinee.domain.passwords import MIN_CHARS, plainly, visible, weakness
from matinee.storage.models import OneTimePassword


@cache
def _common() -> frozenset[str]:
    return frozenset(CommonPasswordValidator().passwords)  # Django's list of 20,000


class HardToGuess:
    """Refuse a short password, a pattern, and one made of common words or of the user's own names."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raises: ValidationError."""
        names = (user.get_username(), user.first_name, user.last_name, user.email) if user is not None else ()
        if fault := weakness(password, names):
            raise ValidationError(f"This password is easy to guess. {fault}", code="password_easy")
        if plainly(password).strip(string.digits + string.punctuation) in _common():
            fault = "It is one of the commonest passwords with digits or signs around it; choose something else."
            raise ValidationError(f"This password is easy to guess. {fault}", code="password_easy")

    def get_help_text(self) -> str:
        """Return the rule in a sentence."""
        return f"At least {MIN_CHARS} characters, not made of your own names, common words or sequences."


class Different:
    """Refuse the current password and the printed one, also with other blanks or another case of all letters.

    Cost: a hash of 0.3 s for each variant and each of the two stored hashes, at most 8; none for a new user.
    """

    def validate(self, password: str, user: Any = None) -> None:
        """Raises: ValidationError."""
        if user is None or user.pk is None:
            return
        printed = OneTimePassword.objects.filter(user_id=user.pk).values_list("password_hash", flat=True)
        stored = {encoded for encoded in (user.password, *printed) if user.has_usable_password()}
        if any(check_password(variant, encoded) for encoded in stored for variant in _variants(password)):
            refuse_same()

    def get_help_text(self) -> str:
        """Return the rule in a sentence."""
        return "Not the current password, and not one that was printed for you."


def refuse_same() -> None:
    """Raises: ValidationError."""
    raise ValidationError("This is the same password as before; choose another one.", code="password_same")


def are_alike(new: str, old: str) -> bool:
    """Return whether two passwords differ in blanks and case only."""
    return plainly(new) == plainly(old)


def _variants(password: str) -> list[str]:
    """Return the password as typed, without blanks, with the case of all letters inverted, and without invisible characters."""
    return list(dict.fromkeys((password, "".join(password.split()), password.swapcase(), visible(password))))

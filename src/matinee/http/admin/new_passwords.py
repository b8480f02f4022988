"""How the admin's forms store a new password. Called by sign_in.py and users.py.

Checking a new password hashes for up to two seconds. Invariant: what others change of the user meanwhile stays changed, and no
transaction is open while a password is hashed for storage.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.http import HttpRequest
from unfold.forms import UserCreationForm

from matinee.errors import Conflict

_HASH = "matinee.admin.password_hash"  # where a request carries the hash from before the transaction to the form
_MEANWHILE = "The password was changed, or the user deleted, while this form was checked. Nothing was saved."


class StoredAlone:
    """Part of a form that gives an existing user a password: no other column is written.

    Django writes all columns as they were read before the check: a superuser who deactivated or demoted the user meanwhile
    was undone.
    """

    def set_password_and_save(self, user: User, *args: Any, commit: bool = True, **kwargs: Any) -> User:
        """Store the password. Raises: Conflict when the user has another password by now, or was deleted."""
        before = user.password
        super().set_password_and_save(user, *args, commit=False, **kwargs)  # type: ignore[misc]  # of Django's form
        if commit and not User.objects.filter(pk=user.pk, password=before).update(password=user.password):
            raise Conflict(_MEANWHILE)
        return user


def hash_first(request: HttpRequest) -> None:
    """Hash the password of a form that adds a user; call it before the page's transaction, which keeps SQLite's write lock."""
    request.META[_HASH] = make_password(request.POST.get("password1") or None)


class NewUserForm(UserCreationForm):  # type: ignore[misc]  # unfold has no types
    """The name and the password of a new user; `hashed` is the password's hash, which `with_hash` gives it."""

    hashed = ""

    def set_password_and_save(self, user: User, *args: Any, commit: bool = True, **kwargs: Any) -> User:
        """Give the user the password that was hashed before, or none."""
        if not (self.hashed and self.cleaned_data["set_usable_password"]):
            stored: User = super().set_password_and_save(user, *args, commit=commit, **kwargs)
            return stored
        user.password = self.hashed
        if commit:
            user.save()
        return user


def with_hash(form: Any, request: HttpRequest) -> Any:
    """Return the class of a form that adds a user, which knows the hash of this request."""
    return type(form.__name__, (form,), {"hashed": request.META.get(_HASH, "")})

"""Admins: made with a one-time password. Called by the command line."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import transaction

from matinee.errors import OperatorError
from matinee.storage.models import OneTimePassword

_PASSWORD_BYTES = 12  # 96 bits, 16 characters to type once


def admins_exist() -> bool:
    """Return whether anybody can sign in to the admin."""
    return get_user_model().objects.filter(is_superuser=True, is_active=True).exists()


def create_admin(name: str) -> str:
    """Add an admin and return the one-time password, which must be changed at the first sign-in.

    Raises: OperatorError when the name is taken or is none.
    """
    users = get_user_model()
    name = users.normalize_username(name)  # first, as what is checked must be what is stored
    if not name.strip() or len(name) > 150 or not name.isprintable():
        raise OperatorError("An admin's name has 1 to 150 printable characters.")
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    hashed = make_password(password)  # before the transaction: on a busy machine the hash outlasts its time-out
    with transaction.atomic():
        if users.objects.filter(username=name).exists():
            raise OperatorError(f"There is a user {name!r} already; choose another name with --name.")
        user = users.objects.create(username=name, password=hashed, is_staff=True, is_superuser=True)
        OneTimePassword.objects.create(user=user, password_hash=user.password)
    return password

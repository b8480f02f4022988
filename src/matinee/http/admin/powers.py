"""Who may change which user: nobody gains what they do not hold, and one active superuser always remains.

Called by users.py. "Powers" are a user's permissions, their own and those of their groups, whether they are active or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import Q

LAST = "is the last superuser who can sign in; give another active user superuser and staff status first."


def powers_of(user: Any) -> set[int]:
    """Return the ids of a user's permissions. Cost: 1 query."""
    held = Permission.objects.filter(Q(user=user.pk) | Q(group__user=user.pk))
    return set(held.values_list("pk", flat=True))


def may_manage(actor: Any, user: User) -> bool:
    """Return whether `actor` may change, delete or give a password to `user`. Cost: up to 2 queries, 0 for a superuser.

    A superuser may. Another user may only where the other one holds nothing that they lack: with somebody's password they
    could act as them.
    """
    if actor.is_superuser:
        return True
    return not user.is_superuser and powers_of(user) <= powers_of(actor)


def can_sign_in(user: User) -> bool:
    """Return whether a user is a superuser who can sign in to the admin."""
    return user.is_superuser and user.is_active and user.is_staff and user.has_usable_password()


def is_last(leaving: Collection[int]) -> bool:
    """Return whether no superuser could sign in any more without these users. Cost: 1 query, in a transaction.

    The rows are locked: two superusers who demote each other at the same moment must not both succeed.
    """
    admins = User.objects.select_for_update().filter(is_superuser=True, is_active=True, is_staff=True).order_by("pk")
    able = {user.pk for user in admins if user.has_usable_password()}
    return bool(able & set(leaving)) and able <= set(leaving)


def last_of(users: Iterable[User]) -> User | None:
    """Return a user among these without whom no superuser could sign in, None when they all may go."""
    chosen = list(users)
    if not any(can_sign_in(user) for user in chosen) or not is_last([user.pk for user in chosen]):
        return None
    return next(user for user in chosen if can_sign_in(user))

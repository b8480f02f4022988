"""The pages of admins and their groups: Django's own, with unfold's forms. Users are no part of the catalogue or of its log."""

from __future__ import annotations

from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from matinee.http.admin.keyset import ListAdmin


class UserAdmin(DjangoUserAdmin, ListAdmin):  # type: ignore[misc, type-arg]  # unfold has no types
    """Whoever may sign in here."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


class GroupAdmin(DjangoGroupAdmin, ListAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of users with the same permissions."""

"""The pages of admins and their groups: Django's own, with unfold's forms. Users are no part of the catalogue or of its log.

Only a superuser changes superusers, groups, and who holds which permission (powers.py). No page may leave the catalogue
without a superuser who can sign in.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, TypeVar

import structlog
from django.contrib import messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.forms import AdminPasswordChangeForm, UserChangeForm

from matinee.errors import Conflict
from matinee.http.admin import powers
from matinee.http.admin.keyset import ListAdmin
from matinee.http.admin.new_passwords import NewUserForm, StoredAlone, hash_first, with_hash
from matinee.http.admin.seen_state import SeenState
from matinee.http.admin.sign_in import address_of, logged

_T = TypeVar("_T", User, Group)
_POWERS = ("is_superuser", "groups", "user_permissions")
log = structlog.get_logger("matinee.admin")


class UserForm(SeenState, UserChangeForm):  # type: ignore[misc]  # unfold has no types
    """A user's names, states and permissions."""

    def clean(self) -> dict[str, Any]:
        """Refuse to take the last superuser's means of signing in away."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        was = User.objects.filter(pk=self.instance.pk).first()
        wanted = (cleaned.get(name, True) for name in ("is_superuser", "is_active", "is_staff") if name in self.fields)
        if was is not None and not all(wanted) and powers.last_of([was]):
            raise ValidationError(f"{was.get_username()} {powers.LAST}", code="last_superuser")
        return cleaned


class PasswordForm(StoredAlone, AdminPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """A password that an admin gives to another user."""

    def clean(self) -> dict[str, Any]:
        """Refuse to take the last superuser's password away."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.cleaned_data.get("set_usable_password", True) and powers.last_of([self.user]):
            self.add_error("password1", f"{self.user.get_username()} {powers.LAST}")
        return cleaned


class UserAdmin(DjangoUserAdmin, ListAdmin):  # type: ignore[misc, type-arg]  # unfold has no types
    """Whoever may sign in here."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = PasswordForm
    change_form_before_template = "matinee_admin/seen.html"
    readonly_fields = ("last_login", "date_joined")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Return what the user may not grant, too."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *_POWERS)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> User | None:
        """Return a user; for whoever only looks, with the names of the permissions that the page shows."""
        user: User | None = super().get_object(request, object_id, from_field)
        return _with_names(request, user, "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Return whether the user may change users, and this one."""
        return super().has_change_permission(request, obj) and (obj is None or powers.may_manage(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Return whether the user may delete users, and this one."""
        return super().has_delete_permission(request, obj) and (obj is None or powers.may_manage(request.user, obj))

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form's class; that of a new user knows the hash of the password."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return with_hash(form, request) if issubclass(form, NewUserForm) else form

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Add a user; the password is hashed before the transaction of the page begins."""
        if request.method == "POST" and self.has_add_permission(request):
            hash_first(request)
        response: HttpResponse = super().add_view(request, form_url, extra_context)
        return response

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Write a new user, or those columns of an old one that the form changed. Raises: Conflict when it was deleted."""
        if not change:
            obj.save()
            return
        columns = {field.name for field in self.opts.concrete_fields} & set(form.changed_data)
        if columns and not User.objects.filter(pk=obj.pk).update(**{name: getattr(obj, name) for name in columns}):
            raise Conflict("The user was deleted while this form was checked. Nothing was saved.")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write groups and permissions, if the form changed them."""
        if not change or {"groups", "user_permissions"} & set(form.changed_data):
            super().save_related(request, form, formsets, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Answer the page that gives another user a password, or takes it away.

        Only the latter is in a transaction, which the check for the last superuser needs: a hash takes 0.3 s, and on SQLite
        a transaction keeps other writers waiting.
        """
        is_taken_away = request.method == "POST" and request.POST.get("usable_password") == "false"
        with transaction.atomic() if is_taken_away else nullcontext():
            response: HttpResponse = super().user_change_password(request, id, form_url)
        return response

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Delete a user, or say that it is the last superuser."""
        try:
            response: HttpResponse = super().delete_view(request, object_id, extra_context)
        except _LastSuperuser as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.path.removesuffix("delete/") + "change/")
        return response

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Delete a user. Raises: _LastSuperuser, which rolls the transaction of the page back."""
        _require_another([obj])
        _log_of_user("user deleted", obj, request)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Delete the ticked users, all or none. Raises: PermissionDenied; _LastSuperuser."""
        users = list(queryset)
        if not all(powers.may_manage(request.user, user) for user in users):
            raise PermissionDenied
        _require_another(users)
        for user in users:
            _log_of_user("user deleted", user, request)
        super().delete_queryset(request, queryset)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:  # type: ignore[override]
        """Run an action, in one transaction with its log entries; a refusal is a message on the list."""
        try:
            with transaction.atomic():
                response: HttpResponse | None = super().response_action(request, queryset)
                return response
        except _LastSuperuser as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what is deleted with these users; refuse users that the user may not manage, before anything is shown."""
        shown = list(objs)
        if not all(powers.may_manage(request.user, user) for user in shown):
            raise PermissionDenied
        return super().get_deleted_objects(objs, request)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write a change of a user into the service's log too: it is no part of the log of changes."""
        _log_of_user("user changed", obj, request)
        return super().log_change(request, obj, message)


class GroupAdmin(DjangoGroupAdmin, ListAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups of users with the same permissions. A group's permissions are those of its users, so only superusers change it."""

    form = SeenState
    change_form_before_template = "matinee_admin/seen.html"

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Group | None:
        """Return a group; for whoever only looks, with the names of its permissions."""
        group: Group | None = super().get_object(request, object_id, from_field)
        return _with_names(request, group, "permissions")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add groups."""
        return request.user.is_superuser and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Return whether the user may change groups."""
        return request.user.is_superuser and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Return whether the user may delete groups."""
        return request.user.is_superuser and super().has_delete_permission(request, obj)


def _with_names(request: HttpRequest, obj: _T | None, field: str) -> _T | None:
    """Return the object with its permissions loaded; each would be a query of its own where they are shown as text."""
    if obj is not None and not request.user.is_superuser:
        prefetch_related_objects([obj], f"{field}__content_type")
    return obj


def _log_of_user(event: str, user: User, request: HttpRequest) -> None:
    """Write a line about a change of a user, however many there are: a flood of other lines must not hide it."""
    seen = {"account": logged(user.get_username()), "by": logged(request.user.get_username())}
    log.warning(event, **seen, client=address_of(request), is_always_written=True)


class _LastSuperuser(Exception):
    """A deletion would leave no superuser who can sign in."""


def _require_another(users: list[User]) -> None:
    if last := powers.last_of(users):
        raise _LastSuperuser(f"{last.get_username()} {powers.LAST}")

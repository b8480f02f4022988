"""The pages of API keys: made, shown once, given a quota, revoked. Nothing else of a key is changed, and none is deleted.

A new key must appear in the answer to the request that made it and nowhere else: no message (those travel in a cookie), no
session, no URL, no log. A user may make a key that writes only if they may write movies themselves. Writes go to write.keys.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from matinee.http.admin.seen_form import SeenForm
from matinee.http.admin.written import WrittenAdmin, actor
from matinee.storage.models import ApiKey
from matinee.write import keys

_NEW_KEY = "matinee.admin.new_key"
# What a key of scope write may do.
_WRITES = ("catalogue.add_movie", "catalogue.change_movie", "catalogue.delete_movie")


class KeyForm(SeenForm):
    """Who will use a key, and what for."""

    class Meta:
        fields = ("name", "scope", "quota")
        help_texts = {
            "quota": "Requests a minute; 0 is no limit, empty is the default (MATINEE_KEY_RATE). Takes effect in five seconds.",
            "name": "Who will use it.",
            "scope": "“write” may change the catalogue; “read” is needed only where reads are not public.",
        }

    may_write = False  # set by KeyAdmin.get_form

    def clean_scope(self) -> str:
        """Refuse a key that may do more than the user who makes it."""
        scope: str = self.cleaned_data["scope"]
        if scope != "read" and not self.may_write:
            raise ValidationError("You may not add, change and delete movies yourself, so you may not make a key that does.")
        return scope


class KeyAdmin(WrittenAdmin):
    """API keys."""

    subject = "key"
    form = KeyForm
    fields = ("name", "scope", "quota")
    list_display = ("name", "prefix", "scope", "quota", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke_selected",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Return what a new key needs, or all that is known of an old one."""
        if obj is None:
            return self.fields
        return ("name", "prefix", "scope", "quota", "created_at", "last_used_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Return all fields of an old key but its quota."""
        return () if obj is None else tuple(name for name in self.get_fields(request, obj) if name != "quota")

    def write(self, request: HttpRequest, obj: Any, form: Any, formsets: Any) -> bool:
        """Make the key, or change the quota of an old one."""
        quota = form.cleaned_data["quota"]
        if obj.pk:
            return keys.set_quota(obj.prefix, quota, actor(request))
        new = keys.create(form.cleaned_data["name"], form.cleaned_data["scope"], actor(request), quota)
        obj.pk, obj.prefix, request.META[_NEW_KEY] = new.id, new.prefix, new.text
        return True

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form's class, which knows whether the user may write movies."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"may_write": request.user.has_perms(_WRITES)})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponseBase:
        """Show the key in this answer, and only here: no redirect, which would have to keep it somewhere."""
        own = {"title": "New API key", "key_name": obj.name, "key_text": request.META.pop(_NEW_KEY), "opts": self.opts}
        context = self.admin_site.each_context(request) | own
        return TemplateResponse(request, "matinee_admin/new_key.html", context, headers={"Cache-Control": "no-store"})

    @admin.action(permissions=["revoke"], description="Revoke selected API keys")
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke these keys; from then on they open nothing."""
        self.each(request, queryset, lambda key: keys.revoke(key.prefix, actor(request)), "revoked")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may revoke keys: whoever may change what a key may do."""
        return request.user.has_perm("catalogue.change_apikey")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Return whether the user may change the quota of a key; that of a revoked one is of no use."""
        return self.has_revoke_permission(request) and (obj is None or obj.revoked_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Return that a key is never deleted: the log names it."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Return whether the user may see the keys."""
        return request.user.has_perms(("catalogue.view_apikey",)) or self.has_revoke_permission(request)

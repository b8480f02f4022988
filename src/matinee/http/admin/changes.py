"""The log of changes: who changed what, when, and from what to what. Nothing here can be changed.

A page of all changes, or of those of one thing, is an index range. Any other filter has no index: it looks at a window of
positions for each page, so that a rare kind cannot read the whole log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Max, QuerySet
from django.db.models.functions import Lower
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import DropdownFilter

from matinee.domain.change_log import PURGE
from matinee.http.admin.differences import differences
from matinee.http.admin.keyset import KeysetChangeList, ListAdmin
from matinee.http.admin.seen_form import log_address
from matinee.storage.models import Change

WINDOW_POSITIONS = 50_000
SUBJECTS = ("movie", "person", "genre", "key", PURGE)
KINDS = ("created", "updated", "deleted", "merged", "revoked", "purged")
_THING = re.compile(rf"(?:({'|'.join(SUBJECTS)})\s+)?(\d{{1,18}})")
_PAGES = {"movie": "movie", "person": "person", "genre": "genre", "key": "apikey"}


def _kept(change: Change) -> str:
    """Return in words what a purge was of."""
    return f"what caches keep of movie {change.subject_id}" if change.subject_id else "all that caches keep"


class SubjectFilter(DropdownFilter):  # type: ignore[misc]  # unfold has no types
    """Changes of one kind of thing. LogList.page applies it."""

    title = "subject"
    parameter_name = "subject"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kinds of things."""
        return [(word, word) for word in SUBJECTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return all rows."""
        return queryset


class KindFilter(SubjectFilter):
    """Changes of one kind. LogList.page applies it."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kinds of changes."""
        return [(word, word) for word in KINDS]


class LogList(KeysetChangeList):
    """One page of the log."""

    def page(self) -> tuple[list[Change], str | None]:
        """Return the changes of this page and the key of the next one."""
        wanted = self._wanted()
        rows = Change.objects.order_by("-position")
        before = int(self.after) if self.after else None
        if before is not None:
            rows = rows.filter(position__lt=before)
        if not wanted or "subject_id" in wanted:
            found = list(rows.filter(**wanted)[: self.list_per_page + 1])
            return found[: self.list_per_page], str(found[-2].position) if len(found) > self.list_per_page else None
        return self._window(wanted, before)

    def _window(self, wanted: dict[str, Any], before: int | None) -> tuple[list[Change], str | None]:
        """Return what a window of positions has; the next page begins where it ends, if it is not full before."""
        top = before or (Change.objects.aggregate(newest=Max("position"))["newest"] or 0) + 1
        bottom = max(1, top - WINDOW_POSITIONS)
        # A bare `subject` would let the database walk the whole index of subjects and sort what it finds.
        plain = {"word" if name == "subject" else name: value for name, value in wanted.items()}
        window = Change.objects.filter(position__gte=bottom, position__lt=top).alias(word=Lower("subject"))
        rows: list[Any] = list(window.filter(**plain).order_by("-position")[: self.list_per_page + 1])
        if len(rows) > self.list_per_page:
            return rows[:-1], str(rows[-2].position)
        return rows, str(bottom) if bottom > 1 else None

    def _wanted(self) -> dict[str, Any]:
        """Return the columns that must have a value, and the values."""
        wanted: dict[str, Any] = {name: self.params[name] for name in ("subject", "kind") if self.params.get(name)}
        if self.params.get("subject_id"):
            wanted["subject_id"] = int(self.params["subject_id"])
        query = self.query.strip()
        if query and (thing := _THING.fullmatch(query)):
            wanted["subject_id"] = int(thing[2])
            wanted.setdefault("subject", thing[1]) if thing[1] else wanted.setdefault("subject__in", SUBJECTS)
        elif query:
            wanted["actor"] = query
        return wanted


class ChangeAdmin(ListAdmin):
    """The log of changes, read only."""

    list_display = ("position", "when", "actor", "kind", "subject", "subject_id", "version", "fields_changed")
    list_filter = (SubjectFilter, KindFilter)
    plain_filters = ("subject_id",)  # of the links from a thing to its changes
    list_filter_submit = True
    search_fields = ("subject_id",)  # that there is a search at all; LogList.page does it
    search_help_text = "movie 42, 42, or an actor: admin:ann"
    fields = ("position", "thing", "kind", "version", "actor", "when", "what_changed")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LogList]:
        """Return the class of the list."""
        return LogList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return all rows: LogList.page searches."""
        return queryset, False

    @admin.display(description="At (UTC)")
    def when(self, obj: Change) -> str:
        """Return the time to the second."""
        return f"{obj.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Fields")
    def fields_changed(self, obj: Change) -> str:
        """Return the names of the fields that differ, why there is a new version without any, or what was purged."""
        if obj.subject == PURGE:
            return _kept(obj)
        if "because" in obj.detail:
            return f"follows {obj.detail['because']}"
        return ", ".join(obj.detail.get("fields", ()))

    @admin.display(description="Subject")
    def thing(self, obj: Change) -> str:
        """Return a link to what was changed, or what of the caches was purged."""
        if obj.subject == PURGE:
            return _kept(obj)
        if obj.subject not in _PAGES:
            return f"{obj.subject} {obj.subject_id}"
        address = reverse(f"admin:catalogue_{_PAGES[obj.subject]}_change", args=(obj.subject_id,))
        return format_html('<a href="{}" class="underline">{} {}</a>', address, obj.subject, obj.subject_id)

    @admin.display(description="What changed")
    def what_changed(self, obj: Change) -> str:
        """Return a table of the fields: what each was before, and what it is since then."""
        if obj.subject == PURGE:
            return "Nothing in the catalogue: every server dropped what it kept in its caches."
        rows = list(self._rows(obj))
        if not rows:
            return "Nothing beyond that."
        cell = '<td class="align-top pr-6 py-1" style="white-space: pre-line">{}</td>'
        body = format_html_join("", f"<tr>{cell * 3}</tr>", rows)
        heads = format_html_join("", '<th class="pr-6 text-left">{}</th>', (("Field",), ("Before",), ("After",)))
        return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", heads, body)

    def _rows(self, obj: Change) -> Iterator[tuple[str, str, str]]:
        detail = obj.detail
        for field, (before, after) in detail.get("fields", {}).items():
            yield field, *differences(before, after)
        for field, before in detail.get("before", {}).items():
            yield field, differences(before, None)[0], ""
        for name in ("into", "because", "name", "scope"):
            if name in detail:
                text = {"into": "merged into", "because": "follows change"}.get(name, name)
                yield text, "", str(detail[name])

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        """Show all changes of the same thing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        change = self.get_object(request, unquote(object_id))
        if change is None:
            raise Http404
        return HttpResponseRedirect(log_address(change.subject, change.subject_id))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return that nobody adds to the log by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Change | None = None) -> bool:
        """Return that nobody changes the log."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Change | None = None) -> bool:
        """Return that nobody deletes from the log."""
        return False

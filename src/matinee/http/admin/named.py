"""People and genres: things that are a name, which many movies show. Renaming one rewrites those movies.

The parent of people.py and genres.py. Lists and boxes look for the beginning of a folded name, which is a range of an index.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path

from matinee.domain.text import fold
from matinee.http.admin import options
from matinee.http.admin.keyset import ByName, NewestFirst, Order
from matinee.http.admin.seen_form import SeenForm
from matinee.http.admin.written import WrittenAdmin

_LAST_LETTER = "\U0010ffff"
_MAX_ID_CHARS = 18  # more digits are no 64-bit number
_MAX_TERM_CHARS = 300  # the longest name


def beginning_with(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Return the rows whose folded name begins with these words; a number alone is an id."""
    words, number = fold(text), text.strip()
    if number.isdecimal() and len(number) <= _MAX_ID_CHARS:
        return rows.filter(pk=int(number))
    if not words:
        return rows.none() if text.strip() else rows
    return rows.filter(name_fold__gte=words, name_fold__lt=words + _LAST_LETTER)


def _may_edit_movies(request: HttpRequest) -> bool:
    return any(request.user.has_perm(f"catalogue.{verb}_movie") for verb in ("add", "change"))


class NameForm(SeenForm):
    """A name, and the version that it was read at."""

    class Meta:
        fields = ("name",)


class NamedAdmin(WrittenAdmin):
    """The pages of people, or of genres."""

    form = NameForm
    fields = ("name",)
    search_fields = ("name",)  # that there is a search at all; get_search_results does it
    search_help_text = "The beginning of a name, or an id"

    def list_order(self, query: str) -> Order:
        """Return the order that the search's index range has; without a search, the newest come first."""
        return ByName() if query.strip() else NewestFirst()

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the rows that the search finds; no row twice."""
        return beginning_with(queryset, search_term), False

    def get_urls(self) -> list[URLPattern]:
        """Return the pages' addresses, and that of the options of select boxes."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_options"
        own = path("options/", self.admin_site.admin_view(self.options_view), name=name)
        return [own, *super().get_urls()]

    def options_view(self, request: HttpRequest) -> JsonResponse:
        """Answer what a select box offers for what has been typed so far."""
        if not (self.has_view_permission(request) or _may_edit_movies(request)):
            raise PermissionDenied
        term = request.GET.get("term", "").replace("\0", "").strip()[:_MAX_TERM_CHARS]
        rows = ByName().after(beginning_with(self.get_queryset(request), term), "")
        return options.answer(self.options(term, list(rows[: options.SHOWN])))

    def options(self, term: str, rows: list[Any]) -> list[tuple[str, str]]:
        """Return the values and texts of the options."""
        raise NotImplementedError

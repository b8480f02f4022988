"""Lists that never count and never skip: a page is the rows after a key, so that a late page costs what the first one does.

Every list of the admin is one of these. Invariant: a page is one index range that ends after its rows; there is no COUNT and
no OFFSET, whatever the address says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import DataError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

AFTER = "after"
PAGE_ROWS = 50
_MAX_ID_CHARS = 18


class Order(Protocol):
    """An order that an index has."""

    def after(self, rows: QuerySet[Any], key: str) -> QuerySet[Any]:
        """Return the rows in this order, from behind the key; an empty key is before all. Raises: ValueError."""

    def key_of(self, row: Any) -> str:
        """Return the key behind which the next page begins, when this is a page's last row."""


class NewestFirst:
    """By primary key, the largest first."""

    def after(self, rows: QuerySet[Any], key: str) -> QuerySet[Any]:
        """Return the rows with a smaller key."""
        return (rows.filter(pk__lt=int(key)) if key else rows).order_by("-pk")

    def key_of(self, row: Any) -> str:
        """Return the row's primary key."""
        return str(row.pk)


class ByName:
    """By folded name, then by id; a key is `id:name`."""

    def after(self, rows: QuerySet[Any], key: str) -> QuerySet[Any]:
        """Return the rows with a later name, or the same name and a larger id."""
        if key:
            row_id, _, name = key.partition(":")
            # The first condition says the same as the second, but it is the one that an index can start from.
            rows = rows.filter(name_fold__gte=name).filter(Q(name_fold__gt=name) | Q(name_fold=name, pk__gt=int(row_id)))
        return rows.order_by("name_fold", "pk")

    def key_of(self, row: Any) -> str:
        """Return the row's id and folded name."""
        return f"{row.pk}:{row.name_fold}"


class KeysetPages:
    """What the templates take for a paginator: it only says which one draws the links."""

    template_name = "matinee_admin/pages.html"


class KeysetChangeList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """One page of a list, the key behind which the next one begins, and the links to it and to the first."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.after = request.GET.get(AFTER, "")
        super().__init__(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows that the filters and the search leave, in no order yet."""
        for params in (self.params, self.filter_params):
            params.pop(AFTER, None)  # it is no filter, and the links of the page must not carry it
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """Return no order: `page` gives the one that an index has, and the address cannot ask for another."""
        return []

    def page(self) -> tuple[Sequence[Model], str | None]:
        """Return the rows of this page and the key of the next one, None after the last.

        Raises: ValueError when the key in the address is none.
        """
        order: Order = self.model_admin.list_order(self.query)
        rows = list(order.after(self.queryset, self.after)[: self.list_per_page + 1])
        if len(rows) <= self.list_per_page:
            return rows, None
        return rows[:-1], order.key_of(rows[-2])

    def get_results(self, request: HttpRequest) -> None:
        """Set what the templates read; `result_count` is that of this page alone."""
        try:
            self.result_list, next_key = self.page()
        except (ValueError, OverflowError, DataError) as error:
            raise IncorrectLookupParameters(error) from error
        self.first_page_url = self.get_query_string() if self.after else None
        self.next_page_url = None if next_key is None else self.get_query_string({AFTER: next_key})
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.paginator = KeysetPages()


class ListAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What all lists of the admin share."""

    list_per_page = PAGE_ROWS
    list_disable_select_all = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # facets are counts
    sortable_by = ()
    plain_filters: tuple[str, ...] = ()  # parameters that a list reads itself, without a filter in the page

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row of an address. An empty `_to_field` names no field, and Django would look for one of that name."""
        return super().get_object(request, object_id, from_field or None)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return True for what the list declares as a filter; the page leads from any other one to the list's beginning.

        Django allows every column of the table. `?digest__startswith=` would tell a key's digest letter by letter.
        Raises: IncorrectLookupParameters.
        """
        if lookup not in {*self.plain_filters, *(name for item in self.list_filter for name in _lookups_of(item))}:
            raise IncorrectLookupParameters(lookup)
        return True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Return the class of the list."""
        return KeysetChangeList

    def list_order(self, query: str) -> Order:
        """Return the order of the list when it is searched for this."""
        return NewestFirst()

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Run an action on the rows that are ticked, never on all rows of all pages."""
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if len(ticked) > self.list_per_page or not all(map(is_id, ticked)):
            self.message_user(request, "These are no rows of one page of this list; tick them again.", messages.ERROR)
            return None
        if request.POST.get("select_across", "0") not in {"", "0"}:
            self.message_user(request, "Tick the rows that you mean; an action runs on one page at most.", messages.ERROR)
            return None
        response: HttpResponseBase | None = super().response_action(request, queryset)
        return response

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        """Show the history of a thing. Raises: PermissionDenied, before anything says whether the thing exists."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        response: HttpResponseBase = super().history_view(request, object_id, extra_context)
        return response


def _lookups_of(declared: Any) -> tuple[str, ...]:
    """Return the parameters of a filter: of a class its own one, of a column's name those of Django's filters."""
    if isinstance(declared, str):
        return tuple(f"{declared}__{ending}" for ending in ("exact", "isnull", "id__exact"))
    return (declared.parameter_name,)


def is_id(text: str) -> bool:
    """Return whether a text is the id of a row: digits that fit into 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_ID_CHARS

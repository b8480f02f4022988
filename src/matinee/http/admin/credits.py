"""The credits of a movie as rows of its form. They are values: a save writes them anew, so rows have no ids of their own.

Called by movies.py. Invariant: drawing or checking the rows takes one query, however many there are.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BaseFormSet, BaseInlineFormSet, BaseModelFormSet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from matinee.domain.movie import MovieDocument, parse_content
from matinee.errors import InvalidBody
from matinee.http.admin.options import PersonSelect
from matinee.http.admin.seen_form import plain_words
from matinee.storage.models import Credit, Person
from matinee.storage.rows import CREDIT_LISTS

NEW = "+"  # begins the value of a person who is added by name
MAX_ROWS = 1_400  # what a document may hold: 200 directors, 200 writers, 1,000 in the cast
_ROW = re.compile(r"-(\d{1,5})-")  # behind the prefix, in the name of a field
_LIST_OF_ROLE = {role: name for name, role in CREDIT_LISTS.items()}


def document_of(movie: Any) -> MovieDocument | None:
    """Return the document that a form of this movie is made from; None for a new movie."""
    document: MovieDocument | None = vars(movie).get("document")
    return document


def row_values(document: MovieDocument) -> list[dict[str, Any]]:
    """Return a document's credits as the initial values of rows, in their order."""
    return [
        {
            "role": role,
            "person": str(person.id),
            "character": getattr(person, "character", None),
            "billing": getattr(person, "order", None),
            "place": place,
        }
        for name, role in CREDIT_LISTS.items()
        for place, person in enumerate(getattr(document, name), start=1)
    ]


class PersonField(forms.CharField):
    """A person: the digits of an id, or + and a name."""

    widget = PersonSelect

    def clean(self, value: Any) -> Any:
        """Return the value as it is; whether somebody has the id is checked for all rows at once."""
        text = super().clean(value)
        if text and not text.startswith(NEW) and not (text.isascii() and text.isdigit() and len(text) <= 16):
            raise ValidationError("Choose a person from the list.")
        return text


class CreditForm(forms.ModelForm):  # type: ignore[type-arg]
    """One row: who did what."""

    role = forms.ChoiceField(
        choices=Credit.ROLES, initial="cast", widget=UnfoldAdminSelectWidget({"style": "min-width: 7.5rem"})
    )
    person = PersonField()
    character = forms.CharField(required=False, empty_value=None, widget=UnfoldAdminTextInputWidget)
    billing = forms.IntegerField(
        required=False,
        widget=UnfoldAdminIntegerFieldWidget({"style": "width: 5rem"}),
        help_text="Where the credits name the person, counted from 0.",
    )
    place = forms.IntegerField(
        required=False,
        widget=UnfoldAdminIntegerFieldWidget({"style": "width: 5rem"}),
        help_text="The order in which people are listed; empty is last.",
    )

    def clean(self) -> dict[str, Any]:
        """Refuse what would be lost: only the cast plays somebody."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("role") != "cast":
            for field in ("character", "billing"):
                if cleaned.get(field) is not None:
                    self.add_error(field, "Only the cast has this.")
        return cleaned

    def _post_clean(self) -> None:
        # A row is no model instance that is saved; checking it as one would cost a query each.
        pass


class CreditRows(BaseInlineFormSet):  # type: ignore[type-arg]
    """All rows of one form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "queryset": Credit.objects.none()})
        self._document = document_of(self.instance)
        self.initial = row_values(self._document) if self._document else []

    def total_form_count(self) -> int:
        """Return how many rows there are. A request cannot state more than it has fields of: a row takes 10 ms to draw."""
        count: int = super().total_form_count()
        return min(count, self._named) if self.is_bound else count

    @cached_property
    def _named(self) -> int:
        prefix = str(self.prefix)
        found = (_ROW.match(name, len(prefix)) for name in self.data if name.startswith(prefix))
        return len({row[1] for row in found if row})

    def initial_form_count(self) -> int:
        """Return how many rows there were when the form was made; what a request says of it is not believed beyond its rows."""
        count: int = BaseFormSet.initial_form_count(self)
        return min(count, self.total_form_count()) if self.is_bound else count

    def get_queryset(self) -> Any:
        """Return one empty credit for each of those rows: the templates draw rows that were there otherwise than new ones."""
        return self._originals

    @cached_property
    def _originals(self) -> list[Credit]:
        return [Credit() for _ in range(self.initial_form_count())]

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        # Past the parents that look for the row's model instance.
        return super(BaseModelFormSet, self)._construct_form(i, **kwargs)  # type: ignore[misc]

    def add_fields(self, form: Any, index: int | None) -> None:
        """Give a row the names of all people in the form, and the hidden fields that the templates ask for."""
        super().add_fields(form, index)
        form.fields["id"] = forms.CharField(required=False, widget=forms.HiddenInput)
        form.fields["person"].widget.labels = self.labels

    @cached_property
    def labels(self) -> dict[str, str]:
        """Return the names of the people in the rows, by value. Cost: 1 query, none for a fresh form."""
        if not self.is_bound:
            people = [person for name in CREDIT_LISTS for person in getattr(self._document, name, ())]
            return {str(person.id): person.name for person in people}
        values = {self.data.get(f"{self.add_prefix(at)}-person", "") for at in range(self.total_form_count())}
        ids = [int(text) for text in values if text.isascii() and text.isdigit() and len(text) <= 16]
        known = {str(key): name for key, name in Person.objects.filter(pk__in=ids).values_list("pk", "name")}
        return known | {text: f"{text.removeprefix(NEW)} (new)" for text in values if text.startswith(NEW)}

    def clean(self) -> None:
        """Check that everybody is there, and that the document would take these people."""
        for form in self._kept():
            if form.is_valid() and form.cleaned_data["person"] not in self.labels:
                form.add_error("person", "There is no such person any more; choose another one.")
        if any(form.errors for form in self._kept()):
            return
        try:
            parse_content({"title": "any", **self.people()})
        except InvalidBody as error:
            for fault in error.faults:
                self._show(fault.pointer, plain_words(fault.detail))

    def _show(self, pointer: str, text: str) -> None:
        """Show a fault at its row, else above all rows."""
        name, _, rest = pointer.removeprefix("/").partition("/")
        index, _, field = rest.partition("/")
        if not index:
            raise ValidationError(f"{name.capitalize()}: {text}")
        form = self._listed(name)[int(index)]
        field = {"order": "billing", "name": "person", "id": "person"}.get(field, field)
        form.add_error(field if field in form.fields else None, text)

    def _kept(self) -> list[Any]:
        """Return the rows that are filled in and not marked for removal."""
        deleted = self._should_delete_form  # type: ignore[attr-defined]  # the stubs leave it out
        return [form for form in self.forms if form.cleaned_data and not deleted(form)]

    def _listed(self, name: str) -> list[Any]:
        """Return the rows of one list of people, in order of their place; of equal ones, the upper row first."""
        rows = [form for form in self._kept() if _LIST_OF_ROLE[form.cleaned_data["role"]] == name]
        last = max((form.cleaned_data["place"] or 0 for form in rows), default=0) + 1
        return sorted(rows, key=lambda form: last if form.cleaned_data["place"] is None else form.cleaned_data["place"])

    def people(self) -> dict[str, list[dict[str, Any]]]:
        """Return the lists of people as a document states them."""
        return {name: [_stated(name, form.cleaned_data) for form in self._listed(name)] for name in CREDIT_LISTS}


def _stated(name: str, row: dict[str, Any]) -> dict[str, Any]:
    value = row["person"]
    stated: dict[str, Any] = {"name": value.removeprefix(NEW)} if value.startswith(NEW) else {"id": int(value)}
    if name == "cast":
        stated |= {"character": row["character"], "order": row["billing"]}
    return stated


class CreditInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """The credits in a movie's form; whoever may change the movie may change them."""

    model = Credit
    form = CreditForm
    formset = CreditRows
    fields = ("role", "person", "character", "billing", "place")
    extra = 0
    max_num = MAX_ROWS
    hide_title = True

    class Media:
        js = ("matinee_admin/credits.js",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that the movie's own permission decides."""
        return True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that the movie's own permission decides."""
        return True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that the movie's own permission decides."""
        return True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that the movie's own permission decides."""
        return True

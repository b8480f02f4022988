"""The pages of genres, and what the genre box of a movie offers. Every write goes to write.names."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from matinee.http.admin.keyset import ByName, Order
from matinee.http.admin.named import NamedAdmin
from matinee.http.admin.written import actor
from matinee.storage.models import Genre
from matinee.write import names


class GenreAdmin(NamedAdmin):
    """Genres. Languages, countries and companies come and go with the movies that name them."""

    subject = "genre"
    list_display = ("name", "movies", "version")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Genre]:
        """Return the genres among the facets."""
        return Genre.objects.filter(kind="genre")

    def list_order(self, query: str) -> Order:
        """Return the order by name: the index of facets begins with the kind, so this is one range of it."""
        return ByName()

    def write(self, request: HttpRequest, obj: Any, form: Any, formsets: Any) -> bool:
        """Add or rename the genre."""
        name = form.cleaned_data["name"]
        if not obj.pk:
            obj.pk = names.create_genre(name, actor(request))
            return True
        names.rename_genre(obj.pk, name, int(form.cleaned_data["seen"]), actor(request))
        return "name" in form.changed_data

    def remove(self, request: HttpRequest, obj: Genre) -> None:
        """Delete the genre, which no movie has."""
        names.delete_genre(obj.pk, actor(request))

    def options(self, term: str, rows: list[Genre]) -> list[tuple[str, str]]:
        """Return genres by name: a movie states its genres by name too."""
        return [(row.name, row.name) for row in rows]

"""The pages of people, and what the boxes of a movie's credits offer. Every write goes to write.names."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from matinee.http.admin.credits import NEW
from matinee.http.admin.named import NamedAdmin
from matinee.http.admin.written import actor
from matinee.storage.models import Person
from matinee.write import names


class PersonAdmin(NamedAdmin):
    """People. Two of one name are two only because an admin parted them; their ids tell which is which."""

    subject = "person"
    list_display = ("name", "id", "version", "movies")

    @admin.display(description="Movies")
    def movies(self, obj: Person) -> str:
        """Return a link to the movies in which somebody of this name is; counting them would read them."""
        address = f"{reverse('admin:catalogue_movie_changelist')}?{urlencode({'q': obj.name})}"
        return format_html('<a href="{}" class="underline">Movies</a>', address)

    def view_on_site(self, obj: Person) -> str:
        """Return the person's address in the API."""
        return f"/v1/people/{obj.pk}"

    def write(self, request: HttpRequest, obj: Any, form: Any, formsets: Any) -> bool:
        """Add or rename the person."""
        name = form.cleaned_data["name"]
        if not obj.pk:
            obj.pk = names.create_person(name, actor(request))
            return True
        names.rename_person(obj.pk, name, int(form.cleaned_data["seen"]), actor(request))
        return "name" in form.changed_data

    def remove(self, request: HttpRequest, obj: Person) -> None:
        """Delete the person, who has no movies."""
        names.delete_person(obj.pk, actor(request))

    def options(self, term: str, rows: list[Person]) -> list[tuple[str, str]]:
        """Return people by id, the ids shown where a name stands twice; last, the name itself as a new person."""
        times = Counter(person.name for person in rows)
        found = [(str(row.pk), row.name if times[row.name] == 1 else f"{row.name} (id {row.pk})") for row in rows]
        if term and not term.isdecimal() and term not in times:
            found.append((NEW + term, f"Add “{term}” as a new person"))
        return found

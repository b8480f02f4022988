"""The pages of movies. A save is one call of write.movies, with the credits and all; so is each deletion and each merge."""

from __future__ import annotations

from typing import Any

import msgspec
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.html import format_html

from matinee.domain.movie import MovieDocument
from matinee.domain.representation import etag
from matinee.http.admin.credits import CreditInline, document_of
from matinee.http.admin.movie_form import IDS, LINES, MovieForm
from matinee.http.admin.movie_list import MovieColumns, MovieList
from matinee.http.admin.written import WrittenAdmin, actor
from matinee.storage import models
from matinee.storage.models import Movie
from matinee.write import movies

_FIELDSETS = (
    (None, {"fields": ("title", "original_title", ("year", "released"), ("runtime_min", "certificate"), "tagline",
                       "overview", "poster")}),
    ("What it belongs to", {"fields": ("genres", *LINES)}),
    ("Numbers", {"fields": (("rating_average", "rating_votes"), ("critics_score", "critics_average"),
                            ("critics_reviews", "critics_metascore"), ("popularity", "box_office_usd"), "oscars")}),
    ("Ids in other catalogues", {"fields": (IDS[:2], IDS[2:])}),
)  # fmt: skip
_VIEW_ONLY = ((None, {"fields": ("document",)}),)


class MovieAdmin(MovieColumns, WrittenAdmin):
    """Movies."""

    subject = "movie"
    form = MovieForm
    fieldsets = _FIELDSETS
    inlines = (CreditInline,)
    actions = ("delete_selected", "merge_selected")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MovieList]:
        """Return the class of the list."""
        return MovieList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return all rows: MovieList.page searches."""
        return queryset, False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Movie | None:
        """Return a live movie with its document, which its form is made from. Cost: 2 queries."""
        movie: Movie | None = super().get_object(request, object_id, from_field)
        row = models.MovieDocument.objects.filter(pk=movie.pk).values_list("body", flat=True).first() if movie else None
        if movie is None or row is None:
            return None
        vars(movie)["document"] = msgspec.json.decode(row, type=MovieDocument)
        return movie

    def get_fieldsets(self, request: HttpRequest, obj: Movie | None = None) -> Any:
        """Return the form; whoever may only look gets the document itself."""
        return self.fieldsets if self._may_edit(request, obj) else _VIEW_ONLY

    def get_readonly_fields(self, request: HttpRequest, obj: Movie | None = None) -> tuple[str, ...]:
        """Return the document for whoever may only look."""
        return () if self._may_edit(request, obj) else ("document",)

    def get_inlines(self, request: HttpRequest, obj: Movie | None) -> Any:
        """Return the credits for whoever may edit."""
        return self.inlines if self._may_edit(request, obj) else ()

    def _may_edit(self, request: HttpRequest, obj: Movie | None) -> bool:
        return bool(self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj))

    @admin.display(description="Document")
    def document(self, obj: Movie) -> str:
        """Return the document as JSON that people can read."""
        text = msgspec.json.format(msgspec.json.encode(document_of(obj)), indent=2).decode()
        return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)

    def view_on_site(self, obj: Movie) -> str:
        """Return the movie's address in the API."""
        return f"/v1/movies/{obj.pk}"

    def write(self, request: HttpRequest, obj: Any, form: Any, formsets: Any) -> bool:
        """Add or replace the movie, credits included."""
        content = form.content(formsets[0].people())
        if form.document is None:
            written = movies.create(content, actor(request))
        else:
            written = movies.replace(obj.pk, content, actor(request), form.cleaned_data["seen"])
        assert written.document is not None
        obj.pk, obj.title, obj.year = written.document.id, written.document.title, written.document.year
        return form.document is None or written.document.version != form.document.version

    def remove(self, request: HttpRequest, obj: Movie) -> None:
        """Delete the movie as it was read a moment ago."""
        movies.delete(obj.pk, actor(request), etag(obj.version, obj.position))

    def has_merge_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may merge: that changes one movie and deletes the others."""
        return request.user.has_perms(("catalogue.change_movie", "catalogue.delete_movie"))

    @admin.action(permissions=["merge"], description="Merge selected movies into the oldest one")
    def merge_selected(self, request: HttpRequest, queryset: QuerySet[Movie]) -> HttpResponseBase | None:
        """Ask first; then merge the movies into the one with the lowest id, each in its own transaction."""
        chosen = list(queryset.order_by("pk"))
        if len(chosen) < 2:
            self.message_user(request, "Tick two movies or more to merge them.", messages.WARNING)
            return None
        stays, rest = chosen[0], chosen[1:]
        if not request.POST.get("post"):
            own = {"title": "Merge movies", "stays": stays, "rest": rest, "opts": self.opts, "media": self.media}
            return TemplateResponse(request, "matinee_admin/merge.html", self.admin_site.each_context(request) | own)
        done = f"merged into {stays.pk}, “{stays}”"
        self.each(request, rest, lambda movie: movies.merge(movie.pk, stays.pk, actor(request)), done)
        return None

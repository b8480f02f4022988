"""The form of a movie: from its document to fields and back. What the form does not show is kept.

Called by movies.py. A save starts from the current document, so that a field that no form knows (an id of fynd) stays.
"""

from __future__ import annotations

import datetime as dt
from functools import reduce
from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from matinee.domain.ids import fault_of
from matinee.domain.movie import MovieContent, content_of, parse_content
from matinee.domain.representation import etag
from matinee.errors import InvalidBody
from matinee.http.admin.credits import document_of
from matinee.http.admin.options import GenresSelect
from matinee.http.admin.seen_form import SeenForm
from matinee.storage.models import ExternalIdRow, Genre, Movie

_PLAIN = (
    "title", "original_title", "year", "released", "runtime_min", "overview", "tagline", "certificate", "popularity",
    "box_office_usd", "poster",
)  # fmt: skip
IDS = ("imdb", "tmdb", "wikidata", "movielens")
LINES = ("languages", "countries", "companies")

# Each field of the form, and where its value stands in a document.
PATHS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in (*_PLAIN, "genres", *LINES)},
    **{name: ("ids", name) for name in IDS},
    "rating_average": ("rating", "average"),
    "rating_votes": ("rating", "votes"),
    "critics_score": ("critics", "score"),
    "critics_average": ("critics", "average"),
    "critics_reviews": ("critics", "reviews"),
    "critics_metascore": ("critics", "metascore"),
    "oscars": ("awards", "oscars"),
}


class LinesField(forms.CharField):
    """Names, one a line: a name may hold a comma ("Warner Bros., Inc."), never a line break."""

    widget = UnfoldAdminTextareaWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, widget=UnfoldAdminTextareaWidget({"rows": 3}), help_text="One a line.", **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return names as the text of the box; what was typed stays as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        """Return the names."""
        lines = with_line_feeds(super().clean(value) or "").split("\n")  # not splitlines(): it parts names at other signs too
        return [line.strip() for line in lines if line.strip()]


class GenresField(forms.Field):
    """Genres by name, in the order in which they were chosen."""

    widget = GenresSelect

    def clean(self, value: Any) -> list[str]:
        """Return the names. Cost: 1 query."""
        names = [str(name) for name in value or ()]
        known = set(Genre.objects.filter(kind="genre", name__in=names).values_list("name", flat=True)) if names else set()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValidationError(f"There is no genre “{unknown[0][:60]}” any more; add it on the page of genres first.")
        return names


class IdField(forms.CharField):
    """The movie's id in another catalogue."""

    def __init__(self, scheme: str, **kwargs: Any) -> None:
        super().__init__(required=False, empty_value=None, widget=UnfoldAdminTextInputWidget, **kwargs)
        self._scheme = scheme

    def clean(self, value: Any) -> Any:
        """Return the id."""
        text = super().clean(value)
        if text and (fault := fault_of(self._scheme, text)):
            raise ValidationError(f"{fault}.")
        return text


class MovieForm(SeenForm):
    """What is stated about a movie, without its credits."""

    genres = GenresField(required=False)
    languages = LinesField()
    countries = LinesField()
    companies = LinesField()
    imdb = IdField("imdb", label="IMDb", help_text="As tt0078748.")
    tmdb = IdField("tmdb", label="TMDB", help_text="As 348.")
    wikidata = IdField("wikidata", label="Wikidata", help_text="As Q103569.")
    movielens = IdField("movielens", label="MovieLens", help_text="As 1214.")

    class Meta:
        labels = {
            "runtime_min": "Runtime (min)",
            "rating_average": "Rating (0 to 10)",
            "rating_votes": "Votes",
            "critics_score": "Critics: positive (%)",
            "critics_average": "Critics: average (0 to 10)",
            "critics_reviews": "Critics: reviews",
            "critics_metascore": "Metascore",
            "box_office_usd": "Box office (USD)",
            "oscars": "Oscars won",
            "poster": "Poster's address",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.document = document_of(self.instance)
        if self.document is not None:
            self.initial.update({name: reduce(getattr, path, self.document) for name, path in PATHS.items()})

    def current_version(self) -> str:
        """Return the document's ETag; the row and the document may be read from two moments, so the document decides."""
        document = document_of(self.instance)
        return etag(document.version, document.position) if document else ""

    def clean_overview(self) -> str | None:
        """Return the text with the line breaks that it had before a browser sent it."""
        return with_line_feeds(self.cleaned_data["overview"] or "") or None

    def clean(self) -> dict[str, Any]:
        """Check the movie as a whole, its credits apart, and that its ids belong to no other movie."""
        cleaned = super().clean()
        try:
            self.content({})
        except InvalidBody as error:
            self.add_faults(error)
        self._refuse_taken_ids(cleaned)
        return cleaned

    def _refuse_taken_ids(self, cleaned: dict[str, Any]) -> None:
        for scheme, owner in live_owners({scheme: cleaned[scheme] for scheme in IDS if cleaned.get(scheme)}).items():
            if owner != self.instance.pk:
                self.add_error(scheme, f"Movie {owner} has this id; change that one, or merge the two.")

    def content(self, people: dict[str, Any]) -> MovieContent:
        """Return what the form states, over what the document stated. Raises: InvalidBody."""
        plain: dict[str, Any] = msgspec.to_builtins(content_of(self.document)) if self.document else {}
        for name, path in PATHS.items():
            value = self.cleaned_data.get(name)
            target = reduce(lambda part, key: part.setdefault(key, {}), path[:-1], plain)
            target[path[-1]] = value.isoformat() if isinstance(value, dt.date) else value
        return parse_content(plain | people)

    def field_of(self, pointer: str) -> str | None:
        """Return the field that shows what a pointer leads to."""
        for name, path in PATHS.items():
            address = "/" + "/".join(path)
            if pointer == address or pointer.startswith(f"{address}/"):
                return name
        return None


def with_line_feeds(text: str) -> str:
    """Return a text with line breaks as they were before a browser sent it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def live_owners(ids: dict[str, str]) -> dict[str, int]:
    """Return which live movie has each of these ids of other catalogues, by scheme. Cost: 2 queries, 0 without ids."""
    if not ids:
        return {}
    any_of = reduce(Q.__or__, (Q(scheme=scheme, value=value) for scheme, value in ids.items()))
    owners = dict(ExternalIdRow.objects.filter(any_of).values_list("scheme", "movie_id"))
    live = set(Movie.objects.filter(pk__in=owners.values()).values_list("pk", flat=True))
    return {scheme: owner for scheme, owner in owners.items() if owner in live}

"""What select boxes offer while somebody types: twenty rows of an index, never counted, and the boxes themselves.

Called by credits.py, movie_form.py and the pages of people and genres, which give the addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.forms import Select, SelectMultiple
from django.http import JsonResponse
from django.urls import reverse

SHOWN = 20


def answer(options: Iterable[tuple[str, str]]) -> JsonResponse:
    """Return values with their texts as select2 reads them; whoever wants more types more."""
    results = [{"id": value, "text": text} for value, text in options]
    return JsonResponse({"results": results, "pagination": {"more": False}})


class _OptionsBox(Select):
    """A box that knows the texts of its own values, so that none is looked up to draw it."""

    address = ""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        self.labels: Mapping[str, str] = {}

    def build_attrs(self, base_attrs: Any, extra_attrs: Any = None) -> dict[str, Any]:
        """Return what select2 is told; Django's autocomplete.js finds the box by its class."""
        told = {
            "data-ajax--cache": "true",
            "data-ajax--delay": 250,
            "data-ajax--type": "GET",
            "data-ajax--url": reverse(self.address),
            "data-theme": "admin-autocomplete",
            "data-allow-clear": "true",
            "data-placeholder": "",
            "data-width": "100%",
            "class": "admin-autocomplete",
        }
        return {**super().build_attrs(base_attrs, extra_attrs), **told}

    def optgroups(self, name: str, value: Any, attrs: Any = None) -> list[Any]:
        """Return the values themselves as options, in their order."""
        texts = [text for text in value if text]
        options = [self.create_option(name, text, self.labels.get(text, text), True, at) for at, text in enumerate(texts)]
        if not self.allow_multiple_selected:
            options.insert(0, self.create_option(name, "", "", not texts, 0))
        return [(None, options, 0)]

    class Media:
        js = (
            "admin/js/vendor/jquery/jquery.min.js",
            "admin/js/vendor/select2/select2.full.min.js",
            "admin/js/jquery.init.js",
            "admin/js/autocomplete.js",
        )
        css = {"screen": ("admin/css/vendor/select2/select2.min.css", "admin/css/autocomplete.css")}


class PersonSelect(_OptionsBox):
    """One person; the value is an id, or + and a name that nobody has yet."""

    address = "admin:catalogue_person_options"


class GenresSelect(_OptionsBox, SelectMultiple):
    """Several genres, in the order in which they were chosen; the values are their names."""

    address = "admin:catalogue_genre_options"

"""A movie as the API answers it, made of the rows by Django REST framework. The fields are those of Matinee's document.

Plain serializers with declared fields, and plain dictionaries for the lists: a ModelSerializer works its fields out anew for
each request, nested ones for each list, and the whole would be a quarter slower.
"""
# REST framework comes without types.
# mypy: disable-error-code="misc, import-untyped, no-any-return, attr-defined"

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from matinee.storage.models import Credit, Movie

_SCHEMES = ("imdb", "tmdb", "wikidata", "movielens", "fynd")
_LIST_OF_ROLE = {"director": "directors", "writer": "writers", "cast": "cast"}
_LIST_OF_KIND = {"genre": "genres", "language": "languages", "country": "countries", "company": "companies"}


def _person(credit: Credit) -> dict[str, Any]:
    person = {"id": credit.person.id, "name": credit.person.name}
    return person | {"character": credit.character, "order": credit.billing} if credit.role == "cast" else person


def _rating(movie: Movie) -> dict[str, Any]:
    return {"average": movie.rating_average, "votes": movie.rating_votes}


class MovieSerializer(serializers.Serializer):
    """The full movie; credits, facets and ids have been prefetched, so nothing here asks the database."""

    id = serializers.IntegerField()
    version = serializers.IntegerField()
    position = serializers.IntegerField()
    title = serializers.CharField()
    original_title = serializers.CharField()
    year = serializers.IntegerField()
    released = serializers.DateField()
    runtime_min = serializers.IntegerField()
    overview = serializers.CharField()
    tagline = serializers.CharField()
    certificate = serializers.CharField()
    popularity = serializers.FloatField()
    box_office_usd = serializers.IntegerField()
    poster = serializers.CharField()
    updated_at = serializers.DateTimeField()

    def to_representation(self, instance: Movie) -> dict[str, Any]:
        """Return the plain fields, and what is grouped or parted by role, kind and scheme."""
        plain = super().to_representation(instance)
        plain["rating"] = _rating(instance)
        plain["critics"] = {
            "score": instance.critics_score,
            "average": instance.critics_average,
            "reviews": instance.critics_reviews,
            "metascore": instance.critics_metascore,
        }
        plain["awards"] = {"oscars": instance.oscars}
        plain["ids"] = dict.fromkeys(_SCHEMES) | {item.scheme: item.value for item in instance.external_ids.all()}
        plain |= {name: [] for name in (*_LIST_OF_ROLE.values(), *_LIST_OF_KIND.values())}
        for credit in instance.credit_set.all():
            plain[_LIST_OF_ROLE[credit.role]].append(_person(credit))
        for row in instance.moviefacet_set.all():
            plain[_LIST_OF_KIND[row.facet.kind]].append(row.facet.name)
        return plain


class CardSerializer(serializers.Serializer):
    """The short form that lists show."""

    id = serializers.IntegerField()
    version = serializers.IntegerField()
    title = serializers.CharField()
    original_title = serializers.CharField()
    year = serializers.IntegerField()
    runtime_min = serializers.IntegerField()
    critics_score = serializers.IntegerField()
    popularity = serializers.FloatField()
    poster = serializers.CharField()

    def to_representation(self, instance: Movie) -> dict[str, Any]:
        """Return the plain fields with rating, genres and directors."""
        plain = super().to_representation(instance)
        plain["rating"] = _rating(instance)
        plain["genres"] = [row.facet.name for row in instance.moviefacet_set.all()]
        plain["directors"] = [_person(credit) for credit in instance.credit_set.all()]
        return plain

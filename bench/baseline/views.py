"""The baseline's two answers: one movie with four queries, and a page of twenty with three, of what its cards show."""
# REST framework comes without types.
# mypy: disable-error-code="misc, import-untyped"

from __future__ import annotations

from django.db.models import Prefetch, QuerySet
from rest_framework import generics, pagination

from bench.baseline.serializers import CardSerializer, MovieSerializer
from matinee.storage.models import Credit, Movie, MovieFacet

_CREDITS = Credit.objects.select_related("person").order_by("place")
_FACETS = MovieFacet.objects.select_related("facet").order_by("place")


class MovieView(generics.RetrieveAPIView):
    """GET /v1/movies/{id}."""

    queryset = Movie.objects.prefetch_related(
        Prefetch("credit_set", queryset=_CREDITS), Prefetch("moviefacet_set", queryset=_FACETS), "external_ids"
    )
    serializer_class = MovieSerializer


class Pages(pagination.LimitOffsetPagination):
    """Pages by offset without a count, as the cheapest of REST framework's own."""

    default_limit = 20
    max_limit = 100

    def get_count(self, queryset: QuerySet[Movie]) -> int:  # noqa: ARG002
        """Return what lets every offset through; counting would cost more than the page."""
        return 2**31


class MoviesView(generics.ListAPIView):
    """GET /v1/movies, the newest first: the order for which these tables have an index."""

    queryset = Movie.objects.order_by("-id").prefetch_related(
        Prefetch("credit_set", queryset=_CREDITS.filter(role="director")),
        Prefetch("moviefacet_set", queryset=_FACETS.filter(facet__kind="genre")),
    )
    serializer_class = CardSerializer
    pagination_class = Pages

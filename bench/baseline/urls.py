"""The baseline's addresses: the same as Matinee's."""

import os

from django.urls import path

from bench.baseline.cached_views import cached_movie
from bench.baseline.views import MoviesView, MovieView

urlpatterns = [
    path("v1/movies/<int:pk>", cached_movie if "BENCH_REDIS_URL" in os.environ else MovieView.as_view()),
    path("v1/movies", MoviesView.as_view()),
]

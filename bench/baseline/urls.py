"""The baseline's addresses: the same as Matinee's."""

from django.urls import path

from bench.baseline.views import MoviesView, MovieView

urlpatterns = [
    path("v1/movies/<int:pk>", MovieView.as_view()),
    path("v1/movies", MoviesView.as_view()),
]

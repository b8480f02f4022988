"""The baseline's registration as a Django app; settings name it."""

from django.apps import AppConfig


class BaselineConfig(AppConfig):
    """The baseline's one model, of which Matinee owns the table."""

    name = "bench.baseline"
    label = "baseline"

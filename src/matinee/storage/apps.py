"""The Django app's registration; Django imports it by name from settings."""

from django.apps import AppConfig


class StorageConfig(AppConfig):
    """The catalogue's tables and migrations."""

    name = "matinee.storage"
    label = "catalogue"
    verbose_name = "Catalogue"
    default_auto_field = "django.db.models.BigAutoField"

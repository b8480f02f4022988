"""The Django app of the admin's pages; Django imports it by name from settings."""

from django.apps import AppConfig


class AdminPagesConfig(AppConfig):
    """The admin's pages. It has no tables of its own."""

    name = "matinee.http.admin"
    label = "admin_pages"

    def ready(self) -> None:
        """Connect what runs at each sign-in."""
        from matinee.http.admin import session_age

        session_age.connect()

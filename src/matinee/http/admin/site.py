"""The admin's site: which page shows what, and the menu. Called by urls.py; settings name `navigation` for unfold."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from matinee.http.admin.changes import ChangeAdmin
from matinee.http.admin.genres import GenreAdmin
from matinee.http.admin.keys import KeyAdmin
from matinee.http.admin.movies import MovieAdmin
from matinee.http.admin.people import PersonAdmin
from matinee.http.admin.users import GroupAdmin, UserAdmin
from matinee.storage.models import ApiKey, Change, Genre, Movie, Person

_MENU = (
    ("Catalogue", (("Movies", "movie", "catalogue_movie"), ("People", "group", "catalogue_person"),
                   ("Genres", "category", "catalogue_genre"))),
    ("Service", (("Log of changes", "history", "catalogue_change"), ("API keys", "key", "catalogue_apikey"),
                 ("Users", "person", "auth_user"), ("Groups", "groups", "auth_group"))),
)  # fmt: skip
_ORDER = [model for _, items in _MENU for _, _, model in items]


class MatineeSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold has no types
    """Unfold's site with the apps and models of its first page in the order of the menu."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """Return the apps with their models, the catalogue first."""
        apps: list[dict[str, Any]] = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(key=lambda model: _ORDER.index(f"{app['app_label']}_{model['object_name'].lower()}"))
        return sorted(apps, key=lambda app: app["app_label"] != "catalogue")


site = MatineeSite(name="admin")
site.register(Movie, MovieAdmin)
site.register(Person, PersonAdmin)
site.register(Genre, GenreAdmin)
site.register(ApiKey, KeyAdmin)
site.register(Change, ChangeAdmin)
site.register(User, UserAdmin)
site.register(Group, GroupAdmin)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu, without what the user may not see."""
    return [{"title": title, "items": [_item(*item) for item in items if _may_see(request, item[2])]} for title, items in _MENU]


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse(f"admin:{model}_changelist")}


def _may_see(request: HttpRequest, model: str) -> bool:
    app, _, name = model.partition("_")
    return any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))

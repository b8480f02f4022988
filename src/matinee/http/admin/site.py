"""The admin's site: which page shows what, and the menu. Called by urls.py; settings name `navigation` for unfold."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.auth.views import PasswordChangeView
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from matinee.http.admin.changes import ChangeAdmin
from matinee.http.admin.genres import GenreAdmin
from matinee.http.admin.keys import KeyAdmin
from matinee.http.admin.movies import MovieAdmin
from matinee.http.admin.people import PersonAdmin
from matinee.http.admin.sign_in import OwnPasswordForm, SignInForm
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

    login_form = SignInForm

    def get_urls(self) -> list[Any]:
        """Return the addresses without `r/TYPE/ID/`, which no page links to: it says whether an object exists to anybody."""
        return [url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site"]

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Answer the menu's search box. Raises: Http404 for a page that there is not."""
        try:
            found: HttpResponseBase = super().search(request, extra_context)
        except (InvalidPage, ValueError) as error:
            raise Http404 from error
        return found

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Answer the page where users change their own password."""
        context = {**self.each_context(request), **(extra_context or {})}
        view = PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context=context,
            template_name=self.password_change_template or "registration/password_change_form.html",
        )
        request.current_app = self.name  # Django's templates read it
        return view(request)

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

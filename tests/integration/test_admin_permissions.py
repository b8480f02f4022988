"""Who may open and change what in the admin: each page for each kind of user, and that nobody gains what they do not hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from matinee.domain.movie import parse_content
from matinee.storage.models import ApiKey
from matinee.write import keys, movies
from tests.integration.admin_client import GENRES, KEYS, LOG, MOVIES, PEOPLE, Admin, with_typed

USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"
PASSWORD = "the owl sings at noon"
MODELS = {MOVIES: "movie", PEOPLE: "person", GENRES: "genre", KEYS: "apikey", LOG: "change", USERS: "user", GROUPS: "group"}
# Each page, and what it answers to a stranger, to staff without permissions, to staff who may view all, to a superuser.
SITE_PAGES = {
    "": (302, 200, 200, 200),
    "login/": (200, 302, 302, 302),
    "password_change/": (302, 200, 200, 200),
    "password_change/done/": (302, 200, 200, 200),
    "jsi18n/": (302, 200, 200, 200),
    "search/?s=movies": (302, 200, 200, 200),
    "catalogue/": (302, 404, 200, 200),
    "auth/": (302, 404, 200, 200),
    "r/1/1/": (302, 404, 404, 404),
    "doc/": (302, 404, 404, 404),
    "password_reset/": (302, 404, 404, 404),
    "autocomplete/?app_label=auth&model_name=user&field_name=groups": (302, 403, 200, 200),
    "catalogue/person/options/": (302, 403, 200, 200),
    "catalogue/genre/options/": (302, 403, 200, 200),
}
MODEL_PAGES = {
    "": (302, 403, 200, 200),
    "?q=1": (302, 403, 200, 200),
    "add/": (302, 403, 403, 200),
    "1/": (302, 302, 302, 302),
    "1/change/": (302, 403, 200, 200),
    "1/delete/": (302, 403, 403, 200),
    "1/history/": (302, 403, 200, 200),
    "99/change/": (302, 403, 302, 302),
    "99/delete/": (302, 403, 403, 302),
    "99/history/": (302, 403, 302, 302),
}
EXCEPTIONS = {
    f"{LOG}add/": (302, 403, 403, 403),
    f"{LOG}1/delete/": (302, 403, 403, 403),
    f"{LOG}99/delete/": (302, 403, 403, 403),
    f"{LOG}99/history/": (302, 403, 404, 404),
    f"{KEYS}1/delete/": (302, 403, 403, 403),
    f"{KEYS}99/delete/": (302, 403, 403, 403),
    f"{USERS}1/password/": (302, 403, 403, 200),
    f"{USERS}99/password/": (302, 403, 403, 404),
    # A history is rows of the log of changes, to which the page redirects.
    **{f"{path}1/history/": (302, 403, 302, 302) for path in (MOVIES, PEOPLE, GENRES, KEYS, LOG)},
}
TABLE = {f"/admin/{path}": statuses for path, statuses in SITE_PAGES.items()}
TABLE |= {f"{path}{page}": statuses for path in MODELS for page, statuses in MODEL_PAGES.items()}
TABLE |= EXCEPTIONS


@pytest.fixture
def boss(catalogue_home: Path, monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1_000)
    movies.create(parse_content({"title": "Alien", "genres": ["Horror"], "directors": [{"name": "Ridley Scott"}]}), "tests")
    keys.create("Kiosk", "read", "tests")
    Group.objects.create(name="Editors")
    User.objects.create_superuser("root", password=PASSWORD)
    return Admin(User.objects.get(username="root"))


def staff(name: str, *permissions: str) -> Admin:
    """Return a signed-in staff user with these permissions."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return Admin(User.objects.get(pk=user.pk))


def statuses(clients: list[Client]) -> dict[str, tuple[int, ...]]:
    return {path: tuple(client.get(path).status_code for client in clients) for path in TABLE}


def test_each_page_answers_each_kind_of_user_as_the_table_says(boss: Admin) -> None:
    viewer = staff("viewer", *(f"view_{model}" for model in MODELS.values()))
    clients = [Client(headers={"host": "localhost"}), staff("nobody").client, viewer.client, boss.client]

    assert statuses(clients) == TABLE


def test_the_table_names_every_page(boss: Admin) -> None:
    from matinee.http.admin.site import site

    patterns = [str(pattern.pattern) for pattern in site.get_urls()]
    of_models = {str(url.pattern) for model, page in site._registry.items() for url in page.get_urls()}

    assert {re.sub(r"\?.*", "", page) for page in SITE_PAGES} | {"logout/"} >= {
        pattern for pattern in patterns if not pattern.startswith(("^", "(")) and pattern.count("/") < 2
    }
    assert {re.sub(r"<[^>]+>", "1", page) for page in of_models} <= {
        *(page for page in MODEL_PAGES), "1/password/", "options/"
    }  # fmt: skip


def test_a_history_does_not_say_whether_a_thing_exists(boss: Admin) -> None:
    nobody = staff("nobody").client

    answers = {nobody.get(f"{path}{pk}/history/").content for path in MODELS for pk in (1, 99)}

    assert len(answers) == 1


def test_who_may_see_movies_but_not_the_log_is_not_told_who_deleted_one(boss: Admin) -> None:
    movies.delete(1, "secret", None)

    seen = staff("viewer", "view_movie").get(f"{MOVIES}1/change/")

    assert "There is no movie 1." in seen.words
    assert "secret" not in seen.text


def test_user_management_does_not_reach_a_superuser(boss: Admin) -> None:
    mallory = staff("mallory", "view_user", "add_user", "change_user", "delete_user")
    new = {"password1": "mallory was here 7", "password2": "mallory was here 7", "usable_password": "true"}

    changed = mallory.post(f"{USERS}1/change/", {"username": ["root"], "first_name": ["Mallory"]})
    password = mallory.post(f"{USERS}1/password/", {name: [value] for name, value in new.items()})
    deleted = mallory.post(f"{USERS}1/delete/", {"post": ["yes"]})
    in_bulk = mallory.act(USERS, "delete_selected", [1], post="yes")

    assert [page.status for page in (changed, password, deleted, in_bulk)] == [403] * 4
    root = User.objects.get(username="root")
    assert (root.first_name, root.check_password(PASSWORD)) == ("", True)


def test_user_management_does_not_reach_a_user_who_may_do_more(boss: Admin) -> None:
    mallory = staff("mallory", "view_user", "change_user", "delete_user")
    editor = staff("editor", "change_movie")
    peer = staff("peer", "view_user")
    pks = {user.username: user.pk for user in User.objects.all()}

    statuses = {name: mallory.post(f"{USERS}{pks[name]}/delete/", {"post": ["yes"]}).status for name in ("editor", "peer")}

    assert statuses == {"editor": 403, "peer": 200}
    assert editor.get(MOVIES).status == 200
    assert peer.get("/admin/").text.count("login-form") == 1


def test_only_a_superuser_grants(boss: Admin) -> None:
    mallory = staff("mallory", "view_user", "change_user", "view_group", "change_group", "add_group")
    user = User.objects.get(username="mallory")
    form = mallory.get(f"{USERS}{user.pk}/change/").form("user_form")
    everything = [str(pk) for pk in Permission.objects.values_list("pk", flat=True)]
    wanted = {"is_superuser": ["on"], "user_permissions": everything, "groups": ["1"], "first_name": ["M"]}

    saved = mallory.post(f"{USERS}{user.pk}/change/", {**form, **wanted})
    group = mallory.post(f"{GROUPS}1/change/", {"name": ["Editors"], "permissions": everything})
    added = mallory.post(f"{GROUPS}add/", {"name": ["Mine"], "permissions": everything})

    user = User.objects.get(pk=user.pk)
    assert (saved.status, group.status, added.status) == (200, 403, 403)
    assert (user.first_name, user.is_superuser, user.user_permissions.count(), user.groups.count()) == ("M", False, 5, 0)
    assert Group.objects.get().permissions.count() == 0


def test_a_user_added_by_staff_has_no_powers(boss: Admin) -> None:
    mallory = staff("mallory", "view_user", "add_user", "change_user")
    typed: dict[str, Any] = {"username": "eve", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}

    mallory.change(f"{USERS}add/", "user_form", **typed, is_superuser="on", is_staff="on")

    eve = User.objects.get(username="eve")
    assert (eve.is_superuser, eve.is_staff, eve.user_permissions.count()) == (False, False, 0)


@pytest.mark.parametrize("lost", ["is_active", "is_staff", "is_superuser"])
def test_the_last_superuser_cannot_be_demoted(boss: Admin, lost: str) -> None:
    User.objects.create_superuser("inactive", password=PASSWORD, is_active=False)
    User.objects.create_superuser("keyless", password=None)
    form = boss.get(f"{USERS}1/change/").form("user_form")
    form.pop(lost)

    refused = boss.post(f"{USERS}1/change/", form)
    User.objects.create_superuser("second", password=PASSWORD)
    accepted = boss.post(f"{USERS}1/change/", form, follow=False)

    assert "root is the last superuser who can sign in" in refused.words
    assert (accepted.status, getattr(User.objects.get(pk=1), lost)) == (302, False)


def test_the_last_superuser_cannot_be_deleted_nor_lose_the_password(boss: Admin) -> None:
    User.objects.create_user("other", password=PASSWORD)
    one = boss.post(f"{USERS}1/delete/", {"post": ["yes"]})
    many = boss.act(USERS, "delete_selected", list(User.objects.values_list("pk", flat=True)), post="yes")
    form = with_typed(boss.get(f"{USERS}1/password/").form("user_form"), usable_password="false")
    password = boss.post(f"{USERS}1/password/", form)

    assert all("root is the last superuser who can sign in" in page.words for page in (one, many, password))
    assert User.objects.count() == 2
    assert User.objects.get(pk=1).has_usable_password()


def test_two_superusers_cannot_both_be_deleted_at_once(boss: Admin) -> None:
    User.objects.create_superuser("second", password=PASSWORD)

    both = boss.act(USERS, "delete_selected", [1, 2], post="yes")
    one = boss.act(USERS, "delete_selected", [2], post="yes")

    assert "is the last superuser who can sign in" in both.words
    assert "Successfully deleted 1 user" in one.words
    assert list(User.objects.values_list("username", flat=True)) == ["root"]


def test_a_key_that_writes_is_made_only_by_a_user_who_may_write(boss: Admin) -> None:
    clerk = staff("clerk", "view_apikey", "add_apikey")
    editor = staff("editor", "view_apikey", "add_apikey", "add_movie", "change_movie", "delete_movie")

    refused = clerk.change(f"{KEYS}add/", "apikey_form", name="Mine", scope="write")
    clerk.change(f"{KEYS}add/", "apikey_form", name="Reader", scope="read")
    editor.change(f"{KEYS}add/", "apikey_form", name="Writer", scope="write")

    assert "so you may not make a key that does" in refused.words
    assert list(ApiKey.objects.order_by("id").values_list("name", flat=True)) == ["Kiosk", "Reader", "Writer"]


def test_merging_needs_the_permissions_to_change_and_to_delete(boss: Admin) -> None:
    for at in range(2):
        movies.create(parse_content({"title": f"Again {at}"}), "tests")

    offered = {
        verbs: "merge_selected" in staff("-".join(verbs), "view_movie", *(f"{verb}_movie" for verb in verbs)).get(MOVIES).text
        for verbs in (("change",), ("delete",), ("change", "delete"))
    }

    assert offered == {("change",): False, ("delete",): False, ("change", "delete"): True}


HIDDEN = [
    f"{KEYS}?digest__startswith={{}}", f"{KEYS}?digest__regex=^{{}}",
    f"{USERS}?last_login__isnull={{}}", f"{LOG}?detail__contains={{}}", f"{GROUPS}?user__password__startswith={{}}",
]  # fmt: skip


@pytest.mark.parametrize("path", HIDDEN)
def test_an_address_filters_by_nothing_that_the_list_does_not_declare(boss: Admin, path: str) -> None:
    viewer = staff("viewer", *(f"view_{model}" for model in MODELS.values()))

    answers = [viewer.client.get(path.format(value)) for value in ("0", "1", "f", "pbkdf2", "no such value")]

    assert {(answer.status_code, answer.headers["Location"]) for answer in answers} == {(302, path.partition("?")[0] + "?e=1")}


def test_the_declared_filters_of_users_filter(boss: Admin) -> None:
    User.objects.create_user("editor").groups.add(1)

    found = {
        query: [name for name in ("root", "editor") if f">{name}</a>" in boss.get(USERS + query).text]
        for query in ("?is_superuser__exact=1", "?is_active__exact=0", "?groups__id__exact=1", "?q=edi")
    }

    assert found == {
        "?is_superuser__exact=1": ["root"], "?is_active__exact=0": [], "?groups__id__exact=1": ["editor"], "?q=edi": ["editor"],
    }  # fmt: skip

"""People, genres, keys, users, the log of changes and the first sign-in, as an admin meets them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import Client

from matinee.domain.movie import parse_content
from matinee.errors import OperatorError
from matinee.storage.models import ApiKey, Change, Facet, MovieDocument, OneTimePassword, Person
from matinee.write import keys, movies, names, users
from tests.integration.admin_client import GENRES, KEYS, LOG, MOVIES, PEOPLE, Admin, admin

KINDS = [(PEOPLE, "person_form", "person", "Ridley Scott"), (GENRES, "genre_form", "genre", "Horror")]


@pytest.fixture
def ann(catalogue_home: Path) -> Admin:
    movies.create(parse_content({"title": "Alien", "genres": ["Horror"], "directors": [{"name": "Ridley Scott"}]}), "tests")
    return admin("ann")


def document() -> dict[str, Any]:
    return dict(msgspec.json.decode(MovieDocument.objects.get().body))


def log() -> list[tuple[Any, ...]]:
    return list(Change.objects.order_by("position").values_list("subject", "subject_id", "kind", "version", "actor"))


@pytest.mark.parametrize(("path", "form", "subject", "name"), KINDS)
def test_a_renamed_thing_is_renamed_in_its_movies(ann: Admin, path: str, form: str, subject: str, name: str) -> None:
    answer = ann.change(f"{path}1/change/", form, name=f"{name} II")

    made = document()
    assert "was changed successfully" in answer.words
    assert f"{name} II" in (made["genres"][0], made["directors"][0]["name"])
    assert log()[1:] == [(subject, 1, "updated", 2, "admin:ann"), ("movie", 1, "updated", 2, "admin:ann")]


@pytest.mark.parametrize(("path", "form", "subject", "name"), KINDS)
def test_saving_a_name_as_it_was_makes_no_new_version(ann: Admin, path: str, form: str, subject: str, name: str) -> None:
    answer = ann.change(f"{path}1/change/", form)

    assert f"“{name}” is as it was: there was nothing to save." in answer.words
    assert len(log()) == 1


@pytest.mark.parametrize(("path", "form", "subject", "name"), KINDS)
def test_a_stale_name_is_refused_and_kept_in_the_form(ann: Admin, path: str, form: str, subject: str, name: str) -> None:
    stale = ann.get(f"{path}1/change/").form(form)
    admin("bob").change(f"{path}1/change/", form, name="Bob's")

    answer = ann.post(f"{path}1/change/", {**stale, "name": ["Ann's"]})

    assert f"This {subject} is not as it was when you opened this form: admin:bob changed it at" in answer.words
    assert answer.form(form)["name"] == ["Ann's"]
    assert "Bob&#x27;s" in ann.get(f"{path}1/change/").text


@pytest.mark.parametrize(("path", "form", "subject", "name"), KINDS)
def test_what_still_has_movies_cannot_be_deleted(ann: Admin, path: str, form: str, subject: str, name: str) -> None:
    one = ann.post(f"{path}1/delete/", {"post": ["yes"]})
    many = ann.act(path, "delete_selected", [1], post="yes")

    assert f"{name} still has movies" in one.words
    assert f"“{name}” was not deleted: {name} still has movies" in many.words
    assert len(log()) == 1


@pytest.mark.parametrize(("path", "form", "subject", "name"), KINDS)
def test_what_has_no_movies_is_added_and_deleted(ann: Admin, path: str, form: str, subject: str, name: str) -> None:
    added = ann.change(f"{path}add/", form, name="New")
    again = ann.change(f"{path}add/", form, name="Newer")
    one = ann.post(f"{path}2/delete/", {"post": ["yes"]})
    many = ann.act(path, "delete_selected", [3], post="yes")

    assert "was added successfully" in added.words
    assert "was added successfully" in again.words
    assert "was deleted successfully" in one.words
    assert "were deleted" in many.words or "was deleted" in many.words
    assert log()[1:] == [
        (subject, 2, "created", 1, "admin:ann"),
        (subject, 3, "created", 1, "admin:ann"),
        (subject, 2, "deleted", 2, "admin:ann"),
        (subject, 3, "deleted", 2, "admin:ann"),
    ]


def test_two_people_may_share_a_name_and_two_genres_may_not(ann: Admin) -> None:
    ann.change(f"{PEOPLE}add/", "person_form", name="Ridley Scott")
    answer = ann.change(f"{GENRES}add/", "genre_form", name="HORROR")

    assert Person.objects.filter(name="Ridley Scott").count() == 2
    assert "There is a genre &#x27;Horror&#x27; already; choose another name." in answer.words
    assert answer.form("genre_form")["name"] == ["HORROR"]
    assert Facet.objects.filter(kind="genre").count() == 1


def test_a_name_is_stored_composed_as_in_movies(ann: Admin) -> None:
    ann.change(f"{PEOPLE}add/", "person_form", name=" Ame\u0301lie ")

    assert list(Person.objects.filter(pk=2).values_list("name", "name_fold")) == [("Am\u00e9lie", "amelie")]


def test_an_impossible_name_is_told_at_its_field(ann: Admin) -> None:
    answer = ann.change(f"{PEOPLE}1/change/", "person_form", name="\u200b")

    assert "it holds only blanks, marks or invisible characters" in answer.words
    assert len(log()) == 1


def test_a_key_is_shown_once_opens_nothing_after_it_was_revoked_and_is_never_changed(ann: Admin) -> None:
    answer = ann.change(f"{KEYS}add/", "apikey_form", name="Kiosk", scope="write")
    found = re.search(r"matinee_[0-9a-f]{8}_[\w-]{43}", answer.text)
    page = ann.get(f"{KEYS}1/change/")
    revoked = ann.act(KEYS, "revoke_selected", [1])

    assert found is not None
    assert ApiKey.objects.filter(digest=keys._digest(found[0]), scope="write").exists()
    assert found[0] not in ann.get(KEYS).text
    assert 'name="name"' not in page.text
    assert "1 API key was revoked." in revoked.words
    assert ApiKey.objects.get().revoked_at is not None
    assert log()[1:] == [("key", 1, "created", 1, "admin:ann"), ("key", 1, "revoked", 2, "admin:ann")]
    assert ann.post(f"{KEYS}1/change/", {"name": ["Other"]}).status == 403  # a revoked key needs no quota either
    assert ann.post(f"{KEYS}1/delete/", {"post": ["yes"]}).status == 403


def test_the_log_shows_what_a_field_was_and_what_it_is(ann: Admin) -> None:
    cast = [{"name": "Ann"}, {"name": "Bob", "character": "B"}]
    movies.patch(1, {"cast": cast, "year": 1979, "rating": {"average": 8.5}}, "tests", None)
    movies.patch(1, {"cast": cast[:1], "overview": "Text"}, "tests", None)
    movies.delete(1, "tests", None)

    changed = ann.get(f"{LOG}2/change/")
    again = ann.get(f"{LOG}3/change/")
    deleted = ann.get(f"{LOG}4/change/")

    assert "year — 1979" in changed.words
    assert "rating average: — average: 8.5" in changed.words
    assert re.search(r"cast — Ann \(id \d+\) Bob \(id \d+\) as B", changed.words)
    assert re.search(r"cast Bob \(id \d+\) as B \(and 1 that are on both sides\) \(1 that are on both sides\)", again.words)
    assert "overview — Text" in again.words
    assert "title Alien" in deleted.words


def test_nobody_writes_to_the_log(ann: Admin) -> None:
    statuses = [
        ann.get(f"{LOG}add/").status,
        ann.post(f"{LOG}1/change/", {"actor": ["nobody"]}).status,
        ann.post(f"{LOG}1/delete/", {"post": ["yes"]}).status,
    ]

    assert statuses == [403, 403, 403]


def test_a_new_admin_changes_the_printed_password_before_anything_else(catalogue_home: Path) -> None:
    password = users.create_admin("new")
    client = Client(headers={"host": "localhost"})
    client.post("/admin/login/", {"username": "new", "password": password})

    turned_away = client.get(MOVIES)
    page = client.get("/admin/password_change/")
    own = "a password of my own"
    client.post("/admin/password_change/", {"old_password": password, "new_password1": own, "new_password2": own})

    assert (turned_away.status_code, turned_away.headers["Location"]) == (302, "/admin/password_change/")
    assert "Your password was printed when your account was made" in page.content.decode()
    assert client.get(MOVIES).status_code == 200
    assert OneTimePassword.objects.count() == 1


def test_a_new_admin_may_sign_out_without_changing_the_password(catalogue_home: Path) -> None:
    client = Client(headers={"host": "localhost"})
    client.post("/admin/login/", {"username": "new", "password": users.create_admin("new")})

    assert client.post("/admin/logout/").status_code == 200
    assert client.get(MOVIES).headers["Location"].startswith("/admin/login/")


def test_admins_manage_each_other(ann: Admin) -> None:
    typed = {
        "username": "bob",
        "password1": "the owl sings at noon",
        "password2": "the owl sings at noon",
        "usable_password": "true",
    }

    added = ann.change("/admin/auth/user/add/", "user_form", **typed)
    renamed = ann.change(f"/admin/auth/user/{User.objects.get(username='bob').pk}/change/", "user_form", first_name="Bob")
    group = ann.change("/admin/auth/group/add/", "group_form", name="Editors")

    assert [page.status for page in (added, renamed, group)] == [200, 200, 200]
    assert User.objects.get(username="bob").first_name == "Bob"
    assert "was added successfully" in group.words


def test_the_first_page_and_its_menu_show_what_the_user_may_see(ann: Admin) -> None:
    guest = admin("guest", superuser=False)

    page, guests = ann.get("/admin/"), guest.get("/admin/")

    for title in ("Movies", "People", "Genres", "Log of changes", "API keys", "Users", "Groups"):
        assert title in page.words
    assert "Log of changes" not in guests.words
    assert guest.get(MOVIES).status == 403


@pytest.mark.parametrize("pk", ["abc", "0", "-1", "99999999999999999999999999", "_5F", "1.5"])
@pytest.mark.parametrize("path", [MOVIES, PEOPLE, GENRES, KEYS, LOG])
def test_an_address_of_nothing_is_no_fault_of_ours(ann: Admin, path: str, pk: str) -> None:
    answers = [ann.get(f"{path}{pk}/{page}/") for page in ("change", "delete", "history")]
    answers += [ann.post(f"{path}{pk}/change/", {"name": ["x"]}), ann.post(f"{path}{pk}/delete/", {"post": ["yes"]})]

    assert {answer.status for answer in answers} <= {200, 403, 404}
    assert len(log()) == 1


def test_a_form_that_a_program_made_up_is_refused(ann: Admin) -> None:
    huge = {"credit_set-TOTAL_FORMS": "99999999", "credit_set-INITIAL_FORMS": "999999999"}
    form = ann.get(f"{MOVIES}1/change/").form("movie_form")

    nothing = ann.post(f"{MOVIES}1/change/", {})
    many = ann.post(f"{MOVIES}1/change/", {**form, **{name: [value] for name, value in huge.items()}})

    assert "This field is required." in nothing.words
    assert many.status == 200
    assert len(log()) == 1


def test_nobody_gets_in_without_signing_in(catalogue_home: Path) -> None:
    client = Client(headers={"host": "localhost"})

    for path in ("/admin/", MOVIES, PEOPLE, f"{MOVIES}1/change/", LOG, f"{GENRES}options/"):
        assert client.get(path).headers["Location"] == f"/admin/login/?next={path}"
    assert names.create_person("x", "tests") == 1


def test_names_of_one_normal_form_are_one_admin(catalogue_home: Path) -> None:
    users.create_admin("\uff41dmin9")

    with pytest.raises(OperatorError, match="There is a user 'admin9' already"):
        users.create_admin("\uff41dmin9")
    with pytest.raises(OperatorError, match="1 to 150 printable"):
        users.create_admin("\ufdfa" * 149)

"""How many queries each page and each save of the admin takes: over 30 rows the same as over 3, on both engines.

Two or three of each tell who asks: the session, the user, and whether the password is still the printed one. A query that is
repeated for row after row raises, in all tests of the admin: tests/conftest.py sets that guard up, and it has a test here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from zeal import NPlusOneError

from matinee.http.admin.people import PersonAdmin
from matinee.storage.models import Genre, Person
from matinee.write import batches, keys, names
from tests.integration.admin_client import GENRES, KEYS, LOG, MOVIES, PEOPLE, Admin, admin, with_typed
from tests.movies import record

USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"
LOGIN, LOGOUT, PASSWORD_CHANGE = "/admin/login/", "/admin/logout/", "/admin/password_change/"
PASSWORD = "a password of the tests"
TWICE = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}

PAGES = {
    "/admin/": 4,
    PASSWORD_CHANGE: 2,
    f"{PASSWORD_CHANGE}done/": 2,
    MOVIES: 6,
    f"{MOVIES}?after=3": 6,
    f"{MOVIES}?q=film": 9,
    f"{MOVIES}?q=1": 10,
    f"{MOVIES}?q=imdb:tt0078748": 5,
    f"{MOVIES}?genre=2": 6,
    f"{MOVIES}?year=1979": 6,
    f"{MOVIES}?genre=2&year=1979": 6,
    f"{MOVIES}?q=film&genre=2&year=1979": 9,
    f"{MOVIES}add/": 3,
    f"{MOVIES}1/change/": 5,
    f"{MOVIES}1/delete/": 5,
    f"{MOVIES}1/history/": 7,  # a redirect to the log, and three of these are its own
    f"{MOVIES}99/change/": 11,  # a look for who deleted it, and a redirect to the list
    PEOPLE: 4,
    f"{PEOPLE}?q=person": 4,
    f"{PEOPLE}add/": 3,
    f"{PEOPLE}2/change/": 4,
    f"{PEOPLE}2/delete/": 4,
    f"{PEOPLE}2/history/": 7,
    GENRES: 4,
    f"{GENRES}?q=genre": 4,
    f"{GENRES}add/": 3,
    f"{GENRES}2/change/": 4,
    f"{GENRES}2/delete/": 4,
    f"{GENRES}2/history/": 7,
    KEYS: 4,
    f"{KEYS}add/": 3,
    f"{KEYS}1/change/": 4,
    f"{KEYS}1/history/": 7,
    LOG: 4,
    f"{LOG}?q=movie 1": 4,
    f"{LOG}?q=tests": 5,  # a filter without an index: it looks for the newest position first
    f"{LOG}?subject=movie&kind=created": 5,
    f"{LOG}1/change/": 4,
    f"{LOG}1/history/": 8,
    USERS: 5,
    f"{USERS}?q=user": 5,
    f"{USERS}add/": 3,
    f"{USERS}2/change/": 8,
    f"{USERS}2/delete/": 8,
    f"{USERS}2/history/": 6,
    f"{USERS}2/password/": 4,
    GROUPS: 4,
    f"{GROUPS}add/": 4,
    f"{GROUPS}1/change/": 6,
    f"{GROUPS}1/delete/": 6,
    f"{GROUPS}1/history/": 5,
}


class Save(NamedTuple):
    """A form that is sent: where, which one of that page (none: only what is typed), and what is typed into it."""

    path: str
    form: str | None
    typed: dict[str, Any]
    queries: int
    status: int = 302


def asked(path: str, action: str, ids: str, queries: int) -> Save:
    return Save(path, None, {"action": action, "_selected_action": ids.split()}, queries, status=200)


def ticked(path: str, action: str, ids: str, queries: int) -> Save:
    return Save(path, None, {"action": action, "_selected_action": ids.split(), "post": "yes"}, queries)


def confirmed(path: str, queries: int) -> Save:
    return Save(path, None, {"post": "yes"}, queries)


SAVES = {
    "a movie is added": Save(f"{MOVIES}add/", "movie_form", {"title": "New", "genres": ["Drama"]}, 21),
    "a movie is changed": Save(f"{MOVIES}1/change/", "movie_form", {"tagline": "New"}, 31),
    "a movie is left as it was": Save(f"{MOVIES}1/change/", "movie_form", {}, 24),
    "a movie is refused for a fault": Save(f"{MOVIES}1/change/", "movie_form", {"title": ""}, 9, status=200),
    "a movie is refused as stale": Save(f"{MOVIES}1/change/", "movie_form", {"seen": ""}, 10, status=200),
    "a movie is deleted": confirmed(f"{MOVIES}1/delete/", 25),
    "three movies are asked about before a deletion": asked(MOVIES, "delete_selected", "1 2 3", 8),
    "three movies are asked about before a merge": asked(MOVIES, "merge_selected", "1 2 3", 8),
    "one ticked movie is deleted": ticked(MOVIES, "delete_selected", "1", 26),
    "three ticked movies are deleted": ticked(MOVIES, "delete_selected", "1 2 3", 26 + 2 * 18),
    "one ticked movie is merged": ticked(MOVIES, "merge_selected", "1 2", 38),
    "two ticked movies are merged": ticked(MOVIES, "merge_selected", "1 2 3", 38 + 30),
    "a person is added": Save(f"{PEOPLE}add/", "person_form", {"name": "New"}, 11),
    "a person is renamed in all movies": Save(f"{PEOPLE}2/change/", "person_form", {"name": "New"}, 30),
    "a person is deleted": confirmed(f"{PEOPLE}1/delete/", 15),
    "a genre is added": Save(f"{GENRES}add/", "genre_form", {"name": "New"}, 12),
    "a genre is renamed in all movies": Save(f"{GENRES}2/change/", "genre_form", {"name": "New"}, 31),
    "a genre is deleted": confirmed(f"{GENRES}1/delete/", 15),
    "a key is made": Save(f"{KEYS}add/", "apikey_form", {"name": "New", "scope": "read"}, 11, status=200),
    "one key is revoked": ticked(KEYS, "revoke_selected", "1", 12),
    "three keys are revoked": ticked(KEYS, "revoke_selected", "1 2 3", 12 + 2 * 7),
    "a user is added": Save(f"{USERS}add/", "user_form", {"username": "bob", **TWICE}, 11),
    "a user is changed": Save(f"{USERS}2/change/", "user_form", {"first_name": "New"}, 13),
    "a user's password is changed": Save(f"{USERS}2/password/", "user_form", TWICE, 16),
    "a user is deleted": confirmed(f"{USERS}2/delete/", 16),
    "three users are deleted": ticked(USERS, "delete_selected", "2 3 4", 20),
    "a group is added": Save(f"{GROUPS}add/", "group_form", {"name": "New"}, 9),
    "a group is changed": Save(f"{GROUPS}1/change/", "group_form", {"name": "New"}, 11),
    "a group is deleted": confirmed(f"{GROUPS}1/delete/", 12),
}


@pytest.fixture
def ann(catalogue_home: Path) -> Admin:
    for is_concrete in (True, False):  # they are read once a process, and this test may be its first
        ContentType.objects.get_for_models(*apps.get_models(), for_concrete_models=is_concrete)
    return admin("ann")


def fill(rows: int) -> None:
    """Make so many of everything; person 2, genre 2, user 2 and group 1 belong to all, person 1 and genre 1 to nothing."""
    names.create_person("Nobody", "tests")
    names.create_genre("None", "tests")
    cast = [f"Person {at}" for at in range(rows)]
    for_all = {"directors": ["Ann Lee"], "cast": cast, "year": 1979}
    films = [for_all | {"title": f"Film {at}", "genres": ["Drama", f"Genre {at}"]} for at in range(rows)]
    assert batches.write([record(line, **film) for line, film in enumerate(films, start=1)], "tests").rejected == []
    assert (Person.objects.get(name="Ann Lee").pk, Genre.objects.get(name="Drama").pk) == (2, 2)
    for at in range(rows):
        keys.create(f"Key {at}", "read", "tests")


def fill_with_users(rows: int) -> None:
    users = User.objects.bulk_create(User(username=f"user{at}", password="!") for at in range(rows))
    groups = Group.objects.bulk_create(Group(name=f"Group {at}") for at in range(rows))
    users[0].groups.set(groups)
    groups[0].user_set.set(users)
    done = {"content_type": ContentType.objects.get_for_model(User), "object_id": users[0].pk, "action_flag": CHANGE}
    LogEntry.objects.bulk_create(LogEntry(user=users[0], object_repr="user0", **done) for _ in range(rows))


@pytest.mark.parametrize("rows", [3, 30])
def test_each_page_takes_its_number_of_queries_however_many_rows_there_are(ann: Admin, rows: int) -> None:
    fill(rows)
    fill_with_users(rows)

    pages = {path: ann.get(path) for path in PAGES}

    assert {page.status for page in pages.values()} == {200}
    assert {path: len(page.queries) for path, page in pages.items()} == PAGES


@pytest.mark.parametrize("rows", [3, 30])
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_a_save_takes_its_number_of_queries_however_many_rows_there_are(ann: Admin, save: Save, rows: int) -> None:
    fill(rows)
    fill_with_users(rows)
    form = ann.get(save.path).form(save.form) if save.form else {}

    answer = ann.post(save.path, with_typed(form, **save.typed), follow=False)

    assert (answer.status, len(answer.queries)) == (save.status, save.queries)


def test_signing_in_and_out_and_choosing_a_password_take_their_number_of_queries(ann: Admin) -> None:
    User.objects.create_superuser("bob", password=PASSWORD)
    typed = {"old_password": [PASSWORD], "new_password1": ["quite another one"], "new_password2": ["quite another one"]}
    ann.post(LOGOUT, {})

    pages = [
        ann.get(LOGIN),
        ann.post(LOGIN, {"username": ["bob"], "password": [PASSWORD]}, follow=False),
        ann.post(PASSWORD_CHANGE, typed, follow=False),
        ann.post(LOGOUT, {}),
    ]

    assert [(page.status, len(page.queries)) for page in pages] == [(200, 0), (302, 24), (302, 13), (200, 4)]


@pytest.mark.parametrize(
    "column", [lambda _, person: Person.objects.get(pk=person.pk).name, lambda _, person: len(person.credit_set.all())]
)
def test_a_column_that_asks_for_each_row_is_refused(
    ann: Admin, monkeypatch: pytest.MonkeyPatch, column: Callable[[PersonAdmin, Person], Any]
) -> None:
    fill(rows=3)
    monkeypatch.setattr(PersonAdmin, "movies", column)

    with pytest.raises(NPlusOneError, match=r"catalogue\.Person"):
        ann.get(PEOPLE)

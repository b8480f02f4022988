"""What one admin changes of a user stays changed, whatever another one was doing with the same user at that time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Group, Permission, User
from django.db import connection

from matinee.http.admin.password_rules import Different
from tests.integration.admin_client import Admin, with_typed

USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"
PASSWORD, NEW = "the owl sings at noon", "a heron wades by dusk"
TWICE = {"password1": NEW, "password2": NEW}
OWN = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}


@pytest.fixture
def root(catalogue_home: Path, monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1_000)
    return Admin(User.objects.create_superuser("root", password=PASSWORD))


@pytest.fixture
def bob(root: Admin) -> User:
    return User.objects.create_superuser("bob", password=PASSWORD)


def while_checked(monkeypatch: pytest.MonkeyPatch, user: User, **changes: Any) -> None:
    """Let somebody change, or delete, a user while a new password of theirs is checked."""

    def validate(self: Different, password: str, _: Any = None) -> None:
        rows = User.objects.filter(pk=user.pk)
        rows.update(**changes) if changes else rows.delete()

    monkeypatch.setattr(Different, "validate", validate)


def test_a_new_password_does_not_undo_a_demotion(root: Admin, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Admin(bob)
    while_checked(monkeypatch, bob, is_superuser=False, is_active=False)

    own.post("/admin/password_change/", {name: [value] for name, value in OWN.items()})
    bob.refresh_from_db()
    after_own = (bob.is_superuser, bob.is_active, bob.check_password(NEW))
    User.objects.filter(pk=bob.pk).update(is_superuser=True, is_active=True)
    root.change(f"{USERS}{bob.pk}/password/", "user_form", **TWICE)
    bob.refresh_from_db()

    assert (after_own, (bob.is_superuser, bob.is_active)) == ((False, False, True), (False, False))


def test_a_password_that_was_changed_meanwhile_is_not_overwritten(
    root: Admin, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Admin(bob)
    while_checked(monkeypatch, bob, password="another")

    refused = own.post("/admin/password_change/", {name: [value] for name, value in OWN.items()})

    assert (refused.status, "while this form was checked" in refused.words) == (409, True)
    assert User.objects.get(pk=bob.pk).password == "another"


def test_a_user_who_was_deleted_meanwhile_does_not_come_back(root: Admin, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    form = with_typed(root.get(f"{USERS}{bob.pk}/password/").form("user_form"), **TWICE)
    while_checked(monkeypatch, bob)

    refused = root.post(f"{USERS}{bob.pk}/password/", form)

    assert refused.status == 409
    assert list(User.objects.values_list("username", flat=True)) == ["root"]


def test_a_form_from_before_a_demotion_does_not_undo_it(root: Admin, bob: User) -> None:
    form = root.get(f"{USERS}{bob.pk}/change/").form("user_form")
    User.objects.filter(pk=bob.pk).update(is_superuser=False, is_active=False)

    refused = root.post(f"{USERS}{bob.pk}/change/", with_typed(form, first_name="Bob"))

    bob.refresh_from_db()
    assert "was changed after you opened this form" in refused.words
    assert (bob.first_name, bob.is_superuser, bob.is_active) == ("", False, False)


def test_a_form_from_before_a_change_of_groups_does_not_undo_it(root: Admin, bob: User) -> None:
    editors = Group.objects.create(name="Editors")
    bob.groups.add(editors)
    user = root.get(f"{USERS}{bob.pk}/change/").form("user_form")
    editors.permissions.add(Permission.objects.get(codename="change_movie"))
    group = root.get(f"{GROUPS}{editors.pk}/change/").form("group_form")
    bob.groups.clear()
    editors.permissions.clear()

    pages = [root.post(f"{USERS}{bob.pk}/change/", user), root.post(f"{GROUPS}{editors.pk}/change/", group)]

    assert ["after you opened this form" in page.words for page in pages] == [True, True]
    assert (bob.groups.count(), editors.permissions.count()) == (0, 0)


def test_a_save_writes_only_what_the_form_changed(root: Admin, bob: User) -> None:
    form = root.get(f"{USERS}{bob.pk}/change/").form("user_form")

    queries = root.post(f"{USERS}{bob.pk}/change/", with_typed(form, first_name="Bob"), follow=False).queries

    written = [
        query
        for query in queries
        if query.startswith(('UPDATE "auth_user"', 'DELETE FROM "auth_user', 'INSERT INTO "auth_user'))
    ]
    assert written == [f"""UPDATE "auth_user" SET "first_name" = 'Bob' WHERE "auth_user"."id" = {bob.pk}"""]


def test_no_transaction_is_open_while_a_new_password_is_hashed(root: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, inside = PBKDF2PasswordHasher.encode, []

    def noted(self: PBKDF2PasswordHasher, *args: Any, **kwargs: Any) -> str:
        inside.append(connection.in_atomic_block)
        return encode(self, *args, **kwargs)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", noted)
    root.change(f"{USERS}add/", "user_form", username="eve", **TWICE)

    assert inside == [False]
    assert User.objects.get(username="eve").check_password(NEW)

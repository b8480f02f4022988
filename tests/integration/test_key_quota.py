"""Quotas of keys, as they are set at the command line and in the admin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from matinee.storage.models import ApiKey
from matinee.write import keys
from tests.integration.admin_client import KEYS, Admin, admin
from tests.processes import matinee

PASSWORD = "a password that nobody guesses"


@pytest.fixture
def ann(catalogue_home: Path) -> Admin:
    """Return an admin who may do everything."""
    return admin("ann")


def quotas() -> list[int | None]:
    return list(ApiKey.objects.order_by("id").values_list("quota", flat=True))


def test_the_command_line_makes_keys_with_a_quota_changes_and_lists_it(catalogue_home: Path) -> None:
    made = json.loads(matinee(catalogue_home, "key", "create", "--name", "shop", "--quota", "600", "--json").stdout)

    said = [matinee(catalogue_home, "key", "quota", made["prefix"], quota).stderr for quota in ("unlimited", "90", "90")]
    table = matinee(catalogue_home, "key", "list").stdout.splitlines()[1].split("\t")
    back = matinee(catalogue_home, "key", "quota", made["prefix"], "default")

    assert made["quota"] == 600
    assert said == [
        f"Key {made['prefix']} has quota unlimited now.\n",
        f"Key {made['prefix']} has quota 90 a minute now.\n",
        f"Key {made['prefix']} has quota 90 a minute already.\n",
    ]
    assert (table[3], back.returncode, quotas()) == ("90 a minute", 0, [None])


@pytest.mark.parametrize("quota", ["many", "-5", "1.5", "99999999999"])
def test_a_quota_that_is_none_is_one_sentence(catalogue_home: Path, quota: str) -> None:
    refused = matinee(catalogue_home, "key", "create", "--name", "x", f"--quota={quota}")

    assert (refused.returncode, quotas()) == (2, [])
    assert refused.stderr == (
        f"matinee: '{quota}' is no quota; give a number of requests a minute, `default` or `unlimited`.\n"
    )


def test_an_unknown_key_gets_no_quota(catalogue_home: Path) -> None:
    refused = matinee(catalogue_home, "key", "quota", "abcd", "5")

    assert (refused.returncode, refused.stderr) == (2, "matinee: There is no key 'abcd'; see `matinee key list`.\n")


def test_the_admin_makes_a_key_with_a_quota_and_changes_nothing_else_of_it(ann: Admin) -> None:
    ann.change(f"{KEYS}add/", "apikey_form", name="Kiosk", scope="write", quota="120")
    made = quotas()

    page = ann.change(f"{KEYS}1/change/", "apikey_form", quota="240", name="Other", scope="read")

    assert (made, quotas()) == ([120], [240])
    assert list(ApiKey.objects.values_list("name", "scope", "version")) == [("Kiosk", "write", 2)]
    assert "240" in page.text


@pytest.mark.parametrize(("typed", "kept"), [("", None), ("0", 0)])
def test_the_admin_gives_a_key_the_default_or_no_limit(ann: Admin, typed: str, kept: int | None) -> None:
    keys.create("Kiosk", "write", "tests", 120)

    ann.change(f"{KEYS}1/change/", "apikey_form", quota=typed)

    assert quotas() == [kept]


def test_the_admin_refuses_a_quota_out_of_bounds_at_its_field(ann: Admin) -> None:
    keys.create("Kiosk", "write", "tests", 120)

    page = ann.change(f"{KEYS}1/change/", "apikey_form", quota="-1")

    assert quotas() == [120]
    assert "requests a minute from 0" in page.words


def test_a_user_who_may_only_look_at_keys_cannot_change_a_quota(catalogue_home: Path) -> None:
    viewer: Any = User.objects.create_user("viewer", password=PASSWORD, is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    keys.create("Kiosk", "write", "tests", 120)

    answer = Admin(viewer).post(f"{KEYS}1/change/", {"quota": ["5"], "seen": ["1"]})

    assert (answer.status, quotas()) == (403, [120])

"""Secrets and sessions of the admin: keys shown once, passwords that are new and hard to guess, refused forms, headers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client, override_settings

from matinee.domain.passwords import weakness
from matinee.http.admin import session_age
from matinee.http.admin.page_headers import CONTENT_SECURITY_POLICY, HEADERS
from matinee.storage.models import ApiKey, Change
from matinee.write import users
from tests.integration.admin_client import KEYS, MOVIES, Admin

OWN = "the owl sings at noon"
PASSWORD_CHANGE = "/admin/password_change/"


@pytest.fixture
def ann(catalogue_home: Path, monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1_000)
    return Admin(User.objects.create_superuser("ann", "ann.smith@example.com", OWN))


def test_a_new_key_is_in_the_answer_and_nowhere_else(ann: Admin) -> None:
    form = ann.get(f"{KEYS}add/").form("apikey_form") | {"name": ["Kiosk"], "scope": ["write"], "_addanother": ["1"]}

    page = ann.post(f"{KEYS}add/?_popup=1", form, follow=False)
    found = re.search(r"matinee_[0-9a-f]{8}_[\w-]{43}", page.text)

    assert found is not None
    assert (page.status, page.headers["Cache-Control"].split(",")[0], page.text.count(found[0])) == (200, "no-store", 1)
    secret = found[0].rpartition("_")[2]
    kept = [*ann.client.cookies.output().splitlines(), str(page.headers)]
    kept += [str(row.get_decoded()) for row in Session.objects.all()]
    kept += [json.dumps(row.detail) for row in Change.objects.all()] + [str(vars(row)) for row in ApiKey.objects.all()]
    assert [text for text in kept if secret in text] == []


@pytest.mark.parametrize(
    "password",
    ["adminadmin", "adminadminadmin", "annannannann", "Password1234", "pass word 1234", "123456789012", "2026-11-28 0930",
     "zzzzzzzzzzzzzzz", "abcabcabcabc1", "qwertyuiop12", "matinee2026!!", "ann.smith.1990", "Passw0rd!2026", "short one",
     "aabbccddeeff", "x" * 300],
)  # fmt: skip
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    assert weakness(password, ("ann", "Ann", "Smith", "ann.smith@example.com")) is not None


@pytest.mark.parametrize(
    "password", [OWN, "tT7!kz9Q-2mX", "correct horse battery", "ワイルドスピード映画館だよ", "a password of mine"]
)
def test_a_password_that_is_hard_to_guess_is_taken(password: str) -> None:
    assert weakness(password, ("ann", "", "")) is None


@pytest.mark.parametrize("changed", [OWN, OWN.upper(), f"{OWN} ", OWN.replace(" ", ""), OWN.title()])
def test_a_password_cannot_be_changed_to_itself(ann: Admin, changed: str) -> None:
    page = ann.post(PASSWORD_CHANGE, {"old_password": [OWN], "new_password1": [changed], "new_password2": [changed]})

    assert "This is the same password as before" in page.words
    assert User.objects.get().check_password(OWN)


def test_the_printed_password_can_never_be_chosen(ann: Admin) -> None:
    printed = users.create_admin("new")
    new = User.objects.get(username="new")
    form = {"password1": [printed], "password2": [printed], "usable_password": ["true"]}

    at_once = ann.post(f"/admin/auth/user/{new.pk}/password/", form)
    new.set_password("something else entirely")
    new.save()
    afterwards = ann.post(f"/admin/auth/user/{new.pk}/password/", form)

    assert "This is the same password as before" in at_once.words
    assert "This is the same password as before" in afterwards.words


def test_the_forms_of_users_apply_the_rules(ann: Admin) -> None:
    weak = {"password1": "bobbobbobbob", "password2": "bobbobbobbob", "usable_password": "true"}

    added = ann.change("/admin/auth/user/add/", "user_form", username="bob", **weak)

    assert "This password is easy to guess." in added.words
    assert User.objects.count() == 1


def test_a_new_password_ends_all_other_sessions(ann: Admin) -> None:
    other = Admin(User.objects.get())
    new = "another owl sings at noon"

    ann.post(PASSWORD_CHANGE, {"old_password": [OWN], "new_password1": [new], "new_password2": [new]})

    assert ann.client.get("/admin/").status_code == 200
    assert other.client.get("/admin/").status_code == 302


@pytest.mark.parametrize(("hours", "status"), [(1, 200), (11.9, 200), (12.1, 302)])
def test_a_session_ends_that_was_not_used_for_twelve_hours(
    ann: Admin, hours: float, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()
    monkeypatch.setattr(session_age.time, "time", lambda: now_s + hours * 3600)

    assert ann.client.get("/admin/").status_code == status


def test_a_session_ends_after_a_week_however_much_it_is_used(ann: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, seen = time.time(), []
    for hour in range(0, 24 * 8, 8):
        monkeypatch.setattr(session_age.time, "time", lambda hour=hour: now_s + hour * 3600)
        seen.append(ann.client.get("/admin/").status_code)

    assert (seen.index(302) * 8, seen[:22]) == (176, [200] * 22)


def test_a_session_of_a_clock_that_was_ahead_ends(ann: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, seen = time.time(), []
    for minutes_ahead in (0, 4, 6):
        monkeypatch.setattr(session_age.time, "time", lambda ahead=minutes_ahead: now_s - ahead * 60)
        seen.append(ann.client.get("/admin/").status_code)

    assert seen == [200, 200, 302]


def test_every_answer_of_the_admin_has_the_headers(ann: Admin) -> None:
    stranger = Client(headers={"host": "localhost"})
    answers = [stranger.get("/admin/login/"), stranger.get("/admin/"), ann.client.get(MOVIES), ann.client.get("/admin/none/")]
    answers += [ann.client.get("/admin/jsi18n/"), ann.client.generic("TRACE", MOVIES), Client().get("/admin/")]

    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "script-src 'self' 'unsafe-eval'" in CONTENT_SECURITY_POLICY
    assert "unsafe-inline" not in CONTENT_SECURITY_POLICY.partition("script-src")[2].partition(";")[0]


def test_cookies_are_kept_from_scripts_and_other_sites(ann: Admin) -> None:
    client = Client(headers={"host": "localhost"})
    client.get("/admin/login/")
    client.post("/admin/login/", {"username": "ann", "password": OWN})
    session, token = client.cookies["matinee_session"], client.cookies["matinee_csrf"]

    assert (session["httponly"], session["samesite"], session["max-age"]) == (True, "Lax", 7 * 24 * 3600)
    assert (token["httponly"], token["samesite"]) == (True, "Lax")


def refused(answer: Any) -> str:
    assert answer.status_code == 403
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_refused_form_says_what_is_wrong_and_what_to_do(catalogue_home: Path) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    typed = {"username": "ann", "password": "x"}
    no_cookie = client.post("/admin/login/", typed)
    client.get("/admin/login/")
    old = client.post("/admin/login/", typed)
    foreign = client.post("/admin/login/", typed, headers={"origin": "https://films.example.com"})

    assert "did not send the cookie" in refused(no_cookie)
    assert "too old" in refused(old)
    assert "https://films.example.com, which is not an address of this service" in refused(foreign)
    assert "ALLOWED_HOSTS" in refused(foreign)
    assert "MATINEE_PUBLIC_URL" in refused(foreign)


def test_signing_out_takes_a_form(ann: Admin) -> None:
    assert ann.client.get("/admin/logout/").status_code == 405
    assert ann.client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", r"\\evil.example", "javascript:alert(1)", "http:evil"]
)
def test_a_sign_in_leads_to_no_other_site(ann: Admin, target: str) -> None:
    answer = Client(headers={"host": "localhost"}).post(f"/admin/login/?next={target}", {"username": "ann", "password": OWN})

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


@override_settings(ALLOWED_HOSTS=["localhost"])
def test_a_forged_host_is_refused(ann: Admin) -> None:
    assert ann.client.get("/admin/", headers={"host": "evil.example"}).status_code == 400


def test_the_user_form_cannot_write_when_a_user_signed_in_last(ann: Admin) -> None:
    form = ann.get("/admin/auth/user/1/change/").form("user_form")

    assert set(form) & {"last_login_0", "date_joined_0", "password"} == set()


def test_the_rules_say_what_they_want() -> None:
    from django.contrib.auth.password_validation import password_validators_help_texts, validate_password

    assert password_validators_help_texts()[0].startswith("At least 12 characters")
    with pytest.raises(ValidationError, match="easy to guess"):
        validate_password("adminadmin")

"""Who may write and who may read: keys, their scopes, and what happens without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee import config as configuration
from matinee.storage.models import ApiKey
from matinee.write import keys
from tests.client import Client
from tests.processes import eventually


def bearer(key: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"authorization": f"Bearer {key}"}


@pytest.mark.sqlite_only("the bytes of the file are looked at")
def test_a_key_is_stored_as_a_digest_only(catalogue_home: Path) -> None:
    key = keys.create("robot", "write", "tests")

    stored = ApiKey.objects.values().get()
    assert key.text.startswith(f"matinee_{key.prefix}_")
    assert key.text not in str(stored)
    assert key.text.rsplit("_", 1)[1].encode() not in (catalogue_home / "catalogue.sqlite3").read_bytes()


@pytest.mark.parametrize("headers", [{}, bearer("matinee_none"), {"authorization": "Basic eA=="}, bearer("\xff")])
def test_a_write_without_a_good_key_is_401_and_says_how(client: Client, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}

    response = client.request("POST", "/v1/movies", json={"title": "X"}, headers=encoded)

    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="matinee"')
    assert "matinee key create" in response.json()["detail"]


def test_a_read_key_cannot_write(client: Client) -> None:
    key = keys.create("reader", "read", "tests").text

    assert client.request("POST", "/v1/movies", json={"title": "X"}, headers=bearer(key)).status_code == 403


def test_a_revoked_key_is_refused_at_once(client: Client) -> None:
    key = keys.create("robot", "write", "tests")
    before = client.request("POST", "/v1/movies", json={"title": "X"}, headers=bearer(key.text)).status_code

    keys.revoke(key.prefix, "tests")

    after = client.request("POST", "/v1/movies", json={"title": "X"}, headers=bearer(key.text)).status_code
    assert (before, after) == (201, 401)


def test_reads_need_a_key_when_the_owner_says_so(small_catalogue: Path) -> None:
    key = keys.create("reader", "read", "tests").text
    with Client(configuration.load(home=small_catalogue), public_reads=False) as client:
        paths = ("/v1/movies/1", "/v1/movies", "/v1/search?q=a", "/v1/suggest?q=a", "/v1/genres", "/v1/changes", "/v1/people/1")

        without = {client.get(path).status_code for path in paths}
        shown = [client.get(path, headers=bearer(key)) for path in paths]

    assert (without, {response.status_code for response in shown}) == ({401}, {200})
    assert shown[0].headers["cache-control"] == "private, max-age=0, must-revalidate"


def test_the_last_use_of_a_key_is_remembered(client: Client) -> None:
    key = keys.create("robot", "write", "tests")

    client.request("POST", "/v1/movies", json={"title": "X"}, headers=bearer(key.text))

    eventually(lambda: ApiKey.objects.get().last_used_at, lambda seen: seen is not None)


def test_making_and_revoking_a_key_is_in_the_log_but_not_in_the_public_feed(client: Client) -> None:
    key = keys.create("robot", "read", "tests")
    keys.revoke(key.prefix, "tests")
    keys.revoke(key.prefix, "tests")

    from matinee.storage.models import Change

    assert list(Change.objects.order_by("position").values_list("subject", "kind", "actor")) == [
        ("key", "created", "tests"),
        ("key", "revoked", "tests"),
    ]
    assert client.get("/v1/changes").json()["items"] == []

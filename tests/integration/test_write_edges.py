"""Writes at the edge of what JSON, HTTP and Unicode allow: each is taken or refused for what it is, never a fault of ours."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from matinee.storage.models import Credit, ExternalIdRow
from matinee.write import keys, names
from tests.client import Client

PATCH = "application/merge-patch+json"


def deep(levels: int, field: str) -> bytes:
    """Return a document that is nested this deep within one field."""
    return b'{"title":"X","%s":' % field.encode() + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize("stated", ["1.1", '"1.1', "'1.1'", '"1.1" "2.2"', "W/*", '"\u00e9"', '"' + "x" * 255 + '"'])
def test_an_if_match_that_is_no_etag_is_400_and_says_that_quotes_belong_to_it(movies: Client, stated: str) -> None:
    headers = {"authorization": f"Bearer {movies.key}", "if-match": stated.encode("latin-1")}

    response = movies.request("DELETE", "/v1/movies/1", headers=headers)

    assert (response.status_code, response.json()["type"]) == (400, "http://testserver/docs/errors/invalid-parameter")
    assert "quotes and all" in response.json()["detail"]


@pytest.mark.parametrize("stated", ['"7.7"', 'W/"1.1"', '"abc", "7.7"', '""'])
def test_an_etag_of_another_version_or_of_elsewhere_is_412(movies: Client, stated: str) -> None:
    assert movies.write("DELETE", "/v1/movies/1", if_match=stated).status_code == 412


def test_a_refused_list_with_a_weak_etag_says_that_it_never_matches(movies: Client) -> None:
    detail = movies.write("DELETE", "/v1/movies/1", if_match='"x", W/"1.1"').json()["detail"]

    assert 'not "x",W/"1.1"; read it again' in detail
    assert detail.endswith("A weak ETag (W/...) never matches; send the strong one.")


def test_one_good_etag_of_several_is_enough(movies: Client) -> None:
    assert movies.write("DELETE", "/v1/movies/1", if_match='"7.7" , "1.1"').status_code == 204


@pytest.mark.parametrize("stated", ["", "a b", "\u00e9", "x" * 256])
def test_an_idempotency_key_has_1_to_255_visible_signs(client: Client, stated: str) -> None:
    headers = {"authorization": f"Bearer {client.key}", "idempotency-key": stated.encode("latin-1")}

    assert client.request("POST", "/v1/movies", json={"title": "X"}, headers=headers).status_code == 400
    assert client.write("POST", "/v1/movies", {"title": "X"}, idempotency_key="!" * 255).status_code == 201


def test_a_whole_number_may_be_written_with_a_point_as_json_has_it(movies: Client) -> None:
    ridley = movies.get("/v1/movies/1").json()["directors"][0]
    body = {"title": "X", "year": 1979.0, "directors": [{"id": float(ridley["id"])}], "rating": {"average": 8, "votes": 5e3}}

    created = movies.write("POST", "/v1/movies", body)
    merged = movies.write("POST", "/v1/movies/13/merge", {"into": 1.0})

    document = created.json()
    assert (created.status_code, document["year"], document["directors"]) == (201, 1979, [ridley])
    assert (document["rating"], merged.status_code) == ({"average": 8.0, "votes": 5000}, 200)


@pytest.mark.parametrize("year", [1979.5, "1979", True, 10**30, -(10**30), 1e300])
def test_what_is_no_year_is_422_however_large_it_is(client: Client, year: Any) -> None:
    refused = client.write("POST", "/v1/movies", {"title": "X", "year": year})

    assert (refused.status_code, [fault["pointer"] for fault in refused.json()["errors"]]) == (422, ["/year"])


def test_a_text_that_grows_when_it_is_composed_is_measured_as_it_is_kept(client: Client) -> None:
    grows = "\ufb2a"  # one letter that Unicode's normal form writes as two

    refused = client.write("POST", "/v1/movies", {"title": grows * 400})
    created = client.write("POST", "/v1/movies", {"title": grows * 250})

    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/title")
    assert (created.status_code, len(created.json()["title"])) == (201, 500)


def test_half_a_surrogate_is_no_json(client: Client) -> None:
    headers = {"authorization": f"Bearer {client.key}", "content-type": "application/json"}

    assert client.request("POST", "/v1/movies", content=b'{"title":"\\ud83d"}', headers=headers).status_code == 400


def test_a_long_text_that_breaks_a_rule_at_its_end_is_refused_at_once(client: Client) -> None:
    began_s = time.monotonic()

    refused = client.write("POST", "/v1/movies", {"title": "X", "overview": "a" * 9_999 + "\x00"})

    assert refused.status_code == 422
    assert time.monotonic() - began_s < 1  # it was 4 seconds, and of the whole process, while the pattern had two ways to match


@pytest.mark.parametrize(
    ("patch", "pointers"),
    [
        ({"titel": None}, {"/titel"}),
        ({"ids": {"imbd": None}, "year": None}, {"/ids/imbd"}),
        ({"rating": {"average": None, "stars": 5}, "x": 1}, {"/rating/stars", "/x"}),
        ({"title": None}, {"/title"}),
        ({"genres": {"0": "Drama"}}, {"/genres"}),
    ],
)
def test_a_patch_of_a_field_that_there_is_not_is_refused_even_when_it_takes_it_away(
    movies: Client, patch: Any, pointers: set[str]
) -> None:
    refused = movies.write("PATCH", "/v1/movies/1", patch, if_match="*", content_type=PATCH)

    assert (refused.status_code, {fault["pointer"] for fault in refused.json()["errors"]}) == (422, pointers)
    assert movies.get("/v1/movies/1").json()["version"] == 1


def test_a_patch_may_carry_what_the_catalogue_itself_says(movies: Client) -> None:
    patch = {"id": 99, "version": None, "position": -1, "updated_at": "never", "year": 1980}

    patched = movies.write("PATCH", "/v1/movies/1", patch, if_match="*", content_type=PATCH)

    assert (patched.status_code, patched.json()["id"], patched.json()["version"], patched.json()["year"]) == (200, 1, 2, 1980)


@pytest.mark.parametrize("levels", [10, 100, 500, 900, 2_000, 100_000])
@pytest.mark.parametrize("field", ["ids", "overview", "nothing"])
def test_however_deep_a_patch_is_nested_it_is_400_or_422(movies: Client, levels: int, field: str) -> None:
    headers = {"authorization": f"Bearer {movies.key}", "content-type": PATCH, "if-match": "*"}

    response = movies.request("PATCH", "/v1/movies/1", content=deep(levels, field), headers=headers)

    assert response.status_code in {400, 422}, response.text


@pytest.mark.parametrize(
    ("into", "status"),
    [(99, 409), (2, 409), (4, 409), (0, 422), (-1, 422), (2**32, 422), (True, 422), ("3", 422), (None, 422), (3.5, 422)],
)
def test_a_merge_into_what_cannot_stay_is_refused_and_changes_nothing(movies: Client, into: Any, status: int) -> None:
    movies.write("DELETE", "/v1/movies/2", if_match="*")
    movies.write("POST", "/v1/movies/4/merge", {"into": 3})

    refused = movies.write("POST", "/v1/movies/1/merge", {"into": into})

    assert (refused.status_code, [fault["pointer"] for fault in refused.json()["errors"]]) == (status, ["/into"])
    assert movies.get("/v1/movies/1").json()["version"] == 1


def test_a_merge_is_done_once_however_often_it_is_sent(movies: Client) -> None:
    first = movies.write("POST", "/v1/movies/1/merge", {"into": 3}, idempotency_key="m-1")
    again = movies.write("POST", "/v1/movies/1/merge", {"into": 3}, idempotency_key="m-1")
    other = movies.write("POST", "/v1/movies/2/merge", {"into": 3}, idempotency_key="m-1")
    without = movies.write("POST", "/v1/movies/1/merge", {"into": 3})

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (200, first.content, "true")
    assert again.headers["matinee-position"] == first.headers["matinee-position"]
    assert (other.status_code, without.status_code) == (422, 410)


def test_a_key_of_one_client_says_nothing_to_another(client: Client) -> None:
    client.write("POST", "/v1/movies", {"title": "Mine"}, idempotency_key="k-1")
    headers = {"authorization": f"Bearer {keys.create('other', 'write', 'tests').text}", "idempotency-key": "k-1"}

    created = client.request("POST", "/v1/movies", json={"title": "Yours"}, headers=headers)

    assert (created.status_code, created.json()["title"]) == (201, "Yours")


def test_of_several_people_of_one_name_the_first_is_meant(client: Client) -> None:
    first, second = names.create_person("Ann", "tests"), names.create_person("Ann", "tests")

    by_name = client.write("POST", "/v1/movies", {"title": "X", "directors": [{"name": "Ann"}]}).json()
    by_id = client.write("POST", "/v1/movies", {"title": "Y", "directors": [{"id": second}]}).json()

    assert (by_name["directors"], by_id["directors"]) == ([{"id": first, "name": "Ann"}], [{"id": second, "name": "Ann"}])


def test_a_replaced_movie_keeps_no_row_of_what_it_was(movies: Client) -> None:
    movies.write("PUT", "/v1/movies/1", {"title": "A", "genres": ["New"], "cast": [{"name": "Tom Skerritt"}]}, if_match="*")
    patched = movies.write("PATCH", "/v1/movies/1", {"year": 1980}, if_match="*", content_type=PATCH)

    document = patched.json()
    assert (document["directors"], [person["name"] for person in document["cast"]]) == ([], ["Tom Skerritt"])
    assert (document["genres"], document["ids"]["imdb"]) == (["New"], None)
    assert (Credit.objects.filter(movie=1).count(), ExternalIdRow.objects.filter(movie_id=1).count()) == (1, 0)
    assert movies.titles("/v1/movies?director=Ridley Scott") == ["Blade Runner"]


def test_a_movie_as_large_as_the_rules_allow_is_written_and_read_back_whole(client: Client) -> None:
    people = [{"name": f"{number} " + "\u00e9" * 290, "character": "c" * 300, "order": number} for number in range(1_000)]
    body = {
        "title": "\U0001f3ac" * 500,
        "overview": "\n" + "o" * 9_999,
        "cast": people,
        "genres": [f"g{n}" for n in range(100)],
    }

    created = client.request(
        "POST", "/v1/movies", content=json.dumps(body, ensure_ascii=False).encode(),
        headers={"authorization": f"Bearer {client.key}", "content-type": "application/json"},
    )  # fmt: skip

    assert created.status_code == 201, created.text
    assert client.get(f"/v1/movies/{created.json()['id']}").content == created.content
    assert [person["name"] for person in created.json()["cast"]] == [person["name"] for person in people]

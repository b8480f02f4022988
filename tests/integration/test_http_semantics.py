"""What HTTP promises beside the API's own rules: conditional requests by date, Vary, CORS, nosniff, methods of files."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from matinee import config as configuration
from matinee.http.public_reads import encoding_of
from tests.client import Client

MOVIE = "/v1/movies/1"
ORIGIN = "https://films.example.org"
ANSWERS = [MOVIE, "/v1/movies", "/v1/movies/999", "/v1/movies/abc", "/nowhere", "/livez", "/readyz", "/metrics", "/docs", "/",
           "/openapi.json", "/v1/changes", "/admin/login/", "/static/none.css"]  # fmt: skip


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_forbids_to_guess_its_type_and_says_so_once(movies: Client, path: str) -> None:
    for _ in range(2):
        assert movies.get(path).headers.get_list("x-content-type-options") == ["nosniff"]


def test_a_file_and_a_304_forbid_to_guess_their_type(movies: Client) -> None:
    file = movies.get("/static/admin/css/base.css")
    known = movies.get(MOVIE, headers={"if-none-match": movies.get(MOVIE).headers["etag"]})

    assert [(answer.status_code, answer.headers["x-content-type-options"]) for answer in (file, known)] == [
        (200, "nosniff"),
        (304, "nosniff"),
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_files_take_get_and_head_only(client: Client, method: str) -> None:
    answer = client.request(method, "/static/admin/css/base.css")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert client.request("HEAD", "/static/admin/css/base.css").status_code == 200


def dated(client: Client, since: str, **more: str) -> httpx.Response:
    return client.get(MOVIE, headers={"if-modified-since": since} | more)


@pytest.mark.parametrize("public_reads", [True, False])
@pytest.mark.parametrize("cache_bytes", [0, 2**24])
def test_a_date_counts_on_a_miss_a_hit_and_a_personal_answer(
    small_catalogue: Path, public_reads: bool, cache_bytes: int
) -> None:
    config = configuration.load(home=small_catalogue)
    with Client(config, public_reads=public_reads, local_cache_bytes=cache_bytes) as client:
        key = {"authorization": f"Bearer {client.key}"}
        changed = client.get(MOVIE, headers=key).headers["last-modified"]

        same, later = dated(client, changed, **key), dated(client, "Fri, 31 Dec 2100 00:00:00 GMT", **key)
        earlier = dated(client, "Sunday, 06-Nov-94 08:49:37 GMT", **key)

    assert [answer.status_code for answer in (same, later, earlier)] == [304, 304, 200]
    assert (same.content, same.headers["last-modified"], same.headers["vary"]) == (b"", changed, "Accept-Encoding")


@pytest.mark.parametrize(
    "stated", ["yesterday", "", "Sat, 31 Feb 2100 00:00:00 GMT", "2100-01-01", "Fri, 31 Dec 2100 00:00:00 +0000", "9" * 5_000]
)
def test_a_date_that_is_none_is_ignored(movies: Client, stated: str) -> None:
    assert [dated(movies, stated).status_code for _ in range(2)] == [200, 200]


def test_an_etag_counts_before_a_date(movies: Client) -> None:
    changed, etag = (movies.get(MOVIE).headers[name] for name in ("last-modified", "etag"))

    other, same = dated(movies, changed, **{"if-none-match": '"1.0"'}), dated(movies, "yesterday", **{"if-none-match": etag})

    assert (other.status_code, same.status_code) == (200, 304)


def test_a_second_version_of_the_same_second_is_not_taken_for_the_first(movies: Client) -> None:
    movies.write("PATCH", MOVIE, {"year": 1980}, if_match="*")
    changed = movies.get(MOVIE).headers["last-modified"]

    movies.write("PATCH", MOVIE, {"year": 1981}, if_match="*")

    assert (dated(movies, changed).status_code, movies.get(MOVIE).json()["year"]) == (200, 1981)


def test_a_page_has_no_date_because_a_deletion_would_not_change_it(movies: Client) -> None:
    page = movies.get("/v1/movies")

    assert "last-modified" not in page.headers
    assert movies.get("/v1/movies", headers={"if-modified-since": "Fri, 31 Dec 2100 00:00:00 GMT"}).status_code == 200


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("origin", [{}, {"origin": ORIGIN}, {"origin": "https://elsewhere.example.org"}])
def test_named_origins_make_every_answer_vary_by_origin_in_one_header(
    small_catalogue: Path, path: str, origin: dict[str, str]
) -> None:
    with Client(configuration.load(home=small_catalogue), cors_origins=(ORIGIN,)) as client:
        answers = [client.get(path, headers=origin) for _ in range(2)]
        answers.append(client.get(path, headers=origin | {"if-none-match": answers[0].headers.get("etag", '"x"')}))

    for answer in answers:
        (vary,) = answer.headers.get_list("vary")
        assert "Origin" in vary.split(", ")
        assert (answer.headers.get("access-control-allow-origin") == ORIGIN) == (origin.get("origin") == ORIGIN)


def test_any_origin_is_a_star_and_no_origin_is_reflected(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), cors_origins=("*",)) as client:
        answers = [client.get(MOVIE, headers={"origin": "x" * 5_000}) for _ in range(2)]

    assert [answer.headers["access-control-allow-origin"] for answer in answers] == ["*", "*"]
    assert [answer.headers["vary"] for answer in answers] == ["Accept-Encoding", "Accept-Encoding"]


def test_origins_are_set_in_the_form_in_which_browsers_send_them() -> None:
    stated = "https://Films.Example.org/, http://localhost:80, HTTPS://a.example:443,https://b.example:8443/"

    config = configuration.load({"MATINEE_CORS_ORIGINS": stated})

    assert config.cors_origins == (
        "https://films.example.org", "http://localhost", "https://a.example", "https://b.example:8443"
    )  # fmt: skip


@pytest.mark.parametrize(
    "stated", ["https://a.example/path", "films.example.org", "https://user@a.example", "https://a.example?x"]
)
def test_an_origin_that_no_browser_sends_is_a_fault_of_the_settings(stated: str) -> None:
    with pytest.raises(configuration.ConfigError, match="is no web origin"):
        configuration.load({"MATINEE_CORS_ORIGINS": stated})


@pytest.mark.parametrize("stated", ['W/"1.1"', 'W/"1.1", W/"1.2"'])
def test_a_weak_etag_is_told_to_be_weak(movies: Client, stated: str) -> None:
    answer = movies.write("PATCH", MOVIE, {"year": 1980}, if_match=stated)

    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (412, "weak-etag")
    assert "strong" in answer.json()["detail"]


def test_a_strong_etag_beside_weak_ones_counts(movies: Client) -> None:
    strong = movies.get(MOVIE).headers["etag"]

    answer = movies.write("PATCH", MOVIE, {"year": 1980}, if_match=f'W/"9.9", {strong}')

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [("br", "br"), ("gzip;q=1.0, br;q=0.5", "gzip"), ("br;q=nan", None), ("gzip;q=inf", None), ("gzip;q=2", None),
     ("gzip;q=1e0", None), ("gzip;q=-1", None), ("*;q=0.1", "br"), ("br;q=0, *", "gzip"), ("gzip;q=0.1234", None),
     (";;,", None)],
)  # fmt: skip
def test_a_quality_that_is_none_takes_nothing(accepted: str, expected: str | None) -> None:
    assert encoding_of(accepted.encode()) == expected


def test_a_long_accept_encoding_gets_the_plain_form_and_is_not_remembered(movies: Client) -> None:
    before = encoding_of.cache_info().currsize
    answers = [movies.get(MOVIE, headers={"accept-encoding": "br, " + "x" * 60_000}) for _ in range(3)]

    assert ["content-encoding" in answer.headers for answer in answers] == [False, False, False]
    assert encoding_of.cache_info().currsize == before

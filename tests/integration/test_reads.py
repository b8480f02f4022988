"""GET: movies, their validators, and the errors that a reader can meet."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.client import Client


def test_a_movie_is_answered_with_every_field_whole(movies: Client) -> None:
    response = movies.get("/v1/movies/imdb:tt0078748")

    alien = response.json()
    people = {person["name"]: person["id"] for person in (*alien["directors"], *alien["cast"])}
    assert alien == {
        "id": 1, "version": 1, "position": 1,
        "ids": {"imdb": "tt0078748", "tmdb": "348", "wikidata": None, "movielens": None, "fynd": None},
        "title": "Alien", "original_title": None, "year": 1979, "released": None, "runtime_min": 117,
        "genres": ["Horror", "Sci-Fi"], "directors": [{"id": people["Ridley Scott"], "name": "Ridley Scott"}], "writers": [],
        "cast": [
            {"id": people["Sigourney Weaver"], "name": "Sigourney Weaver", "character": "Ripley", "order": 0},
            {"id": people["Tom Skerritt"], "name": "Tom Skerritt", "character": None, "order": None},
        ],
        "languages": ["English"], "countries": ["United Kingdom", "United States"], "companies": [],
        "overview": None, "tagline": None, "certificate": None, "rating": {"average": 8.5, "votes": 900000},
        "critics": {"score": None, "average": None, "reviews": None, "metascore": None},
        "popularity": 95.0, "box_office_usd": None, "awards": {"oscars": None}, "poster": None,
        "updated_at": alien["updated_at"],
    }  # fmt: skip


def test_all_forms_of_an_id_answer_the_same_bytes(movies: Client) -> None:
    bodies = {movies.get(f"/v1/movies/{ref}").content for ref in ("1", "imdb:tt0078748", "tmdb:348")}

    assert len(bodies) == 1


def test_a_movie_carries_its_validators(movies: Client) -> None:
    response = movies.get("/v1/movies/1")

    assert response.headers["etag"] == '"1.1"'
    assert response.headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert response.headers["last-modified"].endswith("GMT")


@pytest.mark.parametrize("path", ["/v1/movies/1", "/v1/movies?limit=2", "/v1/search?q=alien", "/v1/genres", "/v1/suggest?q=al"])
def test_a_known_etag_is_answered_with_304_and_no_body(movies: Client, path: str) -> None:
    etag = movies.get(path).headers["etag"]

    response = movies.get(path, headers={"if-none-match": f'"other", W/{etag}'})

    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("path", ["/v1/movies/1", "/v1/movies", "/v1/nothing", "/livez", "/docs"])
def test_head_answers_the_head_of_get(movies: Client, path: str) -> None:
    full, head = movies.get(path), movies.request("HEAD", path)

    assert (head.status_code, head.content) == (full.status_code, b"")
    if full.status_code == 200:
        assert head.headers["content-length"] == str(len(full.content))


def test_options_and_405_list_the_methods(movies: Client) -> None:
    asked, refused = movies.request("OPTIONS", "/v1/movies/1"), movies.request("POST", "/v1/movies/1")

    assert (asked.status_code, asked.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")


def test_a_get_by_id_is_one_query_and_so_is_a_page(movies: Client) -> None:
    movies.get("/v1/movies?genre=Drama")  # fills the directory of facets
    queries = {}
    for path in (
        "/v1/movies/1",
        "/v1/movies/imdb:tt0078748",
        "/v1/movies?limit=5",
        "/v1/search?q=star",
        "/v1/movies?ids=1,2,3",
    ):
        before = movies.reader.statements
        movies.get(path)
        queries[path] = movies.reader.statements - before

    assert set(queries.values()) == {1}, queries


def test_a_page_loads_no_more_than_the_page_and_one_row(movies: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    source = type(movies.reader._source)
    rows = source.rows

    async def counted(self: Any, statement: Any, demand: Any) -> Any:
        answered = await rows(self, statement, demand)
        loaded.append(len(answered.rows))
        return answered

    monkeypatch.setattr(source, "rows", counted)

    movies.get("/v1/movies?limit=3")

    assert loaded == [4]


def test_ids_are_answered_in_the_order_asked_without_those_that_are_not_there(movies: Client) -> None:
    assert movies.titles("/v1/movies?ids=4,imdb:tt0090605,99,1,4") == ["Star Wars", "Aliens", "Alien"]


def test_ids_can_be_filtered_too(movies: Client) -> None:
    assert movies.titles("/v1/movies?ids=4,2,1&genre=Action&year_to=1980") == ["Star Wars"]


def test_a_person_is_answered_with_their_movies(movies: Client) -> None:
    ridley = movies.get("/v1/movies/1").json()["directors"][0]["id"]

    page = movies.get(f"/v1/people/{ridley}").json()

    assert (page["name"], [item["title"] for item in page["movies"]["items"]]) == ("Ridley Scott", ["Alien", "Blade Runner"])


def test_genres_are_answered_with_exact_counts(movies: Client) -> None:
    genres = {item["name"]: item["movies"] for item in movies.get("/v1/genres").json()["items"]}

    assert genres == {
        "Action": 4, "Adventure": 1, "Animation": 1, "Comedy": 1, "Crime": 1, "Drama": 2, "Family": 1, "History": 1,
        "Horror": 1, "Romance": 2, "Sci-Fi": 4, "Thriller": 1,
    }  # fmt: skip


def test_changes_are_answered_in_order_and_go_on_from_a_position(movies: Client) -> None:
    first = movies.get("/v1/changes?limit=5").json()
    rest = movies.get(f"/v1/changes?since={first['position']}").json()

    positions = [item["position"] for item in (*first["items"], *rest["items"])]
    assert positions == list(range(1, 13))
    assert (first["has_more"], rest["has_more"], rest["position"]) == (True, False, 12)


def test_bytes_of_a_page_are_the_stored_cards(movies: Client) -> None:
    page = msgspec.json.decode(movies.get("/v1/movies?limit=1&sort=added").content)

    assert page["items"] == [
        {"id": 12, "version": 1, "title": "Untitled Project", "original_title": None, "year": None, "runtime_min": None,
         "genres": [], "directors": page["items"][0]["directors"], "rating": {"average": None, "votes": None},
         "critics_score": None, "popularity": None, "poster": None}
    ]  # fmt: skip

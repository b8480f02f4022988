"""GET /v1/movies: orders, filters, pages and their cursors, and how a list that cannot be answered is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from matinee.domain.query import CURSOR
from tests.client import Client
from tests.movies import SMALL_CATALOGUE, record

ALL = len(SMALL_CATALOGUE)


def refused(client: Client, path: str, slug: str = "invalid-parameter", status: int = 400) -> str:
    """Return the detail of the one problem shape that every refusal has; its type is a page that is there."""
    response = client.get(path)
    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), problem
    assert response.headers["cache-control"] == "no-store"
    assert problem == {
        "type": f"http://testserver/docs/errors/{slug}", "title": problem["title"], "status": status,
        "detail": problem["detail"], "errors": [], "request_id": response.headers["x-request-id"], "current_version": None,
    }  # fmt: skip
    assert client.get(urlsplit(problem["type"]).path).status_code == 200
    return problem["detail"]


def ids(client: Client, path: str) -> list[int]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


def test_the_most_popular_comes_first_and_unknown_popularity_last(movies: Client) -> None:
    assert ids(movies, "/v1/movies") == [4, 1, 9, 2, 3, 6, 7, 5, 8, 12, 11, 10]


ASCENDING = {
    "popularity": [8, 5, 7, 6, 3, 2, 9, 1, 4, 10, 11, 12],
    "rating": [3, 2, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    "votes": [2, 3, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    "year": [10, 11, 4, 1, 3, 2, 9, 5, 7, 6, 8, 12],
    "title": [11, 1, 2, 5, 3, 8, 9, 7, 4, 10, 12, 6],
    "added": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
}
DESCENDING = {
    "popularity": [4, 1, 9, 2, 3, 6, 7, 5, 8, 12, 11, 10],
    "rating": [4, 1, 2, 3, 12, 11, 10, 9, 8, 7, 6, 5],
    "votes": [4, 1, 3, 2, 12, 11, 10, 9, 8, 7, 6, 5],
    "year": [8, 6, 7, 5, 9, 2, 3, 1, 4, 11, 10, 12],
    "title": [6, 12, 10, 4, 7, 9, 8, 3, 5, 2, 1, 11],
    "added": [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
}


def orders(client: Client, sign: str) -> dict[str, list[int]]:
    return {name: ids(client, f"/v1/movies?sort={sign}{name}") for name in ASCENDING}


def test_a_minus_is_descending_and_a_plus_ascending_however_it_is_written(movies: Client) -> None:
    assert orders(movies, "-") == DESCENDING
    assert orders(movies, "%2B") == ASCENDING
    assert orders(movies, "+") == ASCENDING
    assert orders(movies, "%20") == ASCENDING


def test_without_a_sign_the_best_the_newest_or_the_first_letter_comes_first(movies: Client) -> None:
    assert orders(movies, "") == DESCENDING | {"title": ASCENDING["title"]}


FILTERED = {
    "genre=Action": [4, 2, 7, 8],
    "genre=sci-fi": [4, 1, 2, 3],
    "genre=SCI+FI": [4, 1, 2, 3],
    "genre=Action&genre=Sci-Fi": [4, 2],
    "genre=Action&genre=Romance": [],
    "genre=Horror|Romance": [1, 5, 11],
    "genre=Horror%7CRomance&genre=Comedy": [5],
    "genre=nothing|Horror": [1],
    "genre=nothing": [],
    "genre=nothing&genre=Horror": [],
    "language=FRENCH": [5, 11],
    "language=french|english&genre=animation": [6],
    "country=united%20states&country=United+Kingdom": [1],
    "country=france&language=english": [],
    "director=ridley+scott": [1, 3],
    "person=Harrison%20Ford": [4, 3],
    "person=harrison+ford&director=Ridley+Scott": [3],
    "person=Ridley+Scott": [1, 3],
    "director=Harrison+Ford": [],
    "director=jean+pierre+jeunet": [5],
    "person=0": [],
    "person=99999999999999999999999": [],
    "year=1979": [1],
    "year_from=2002": [6, 7, 8],
    "year_to=1946": [11, 10],
    "year_from=1979&year_to=1982": [1, 3],
    "year=1979&year_to=1978": [],
    "rating_min=8.5": [4, 1],
    "rating_min=8.51": [4],
    "rating_min=0": [4, 1, 2, 3],
    "rating_min=1e1": [],
    "votes_min=800000": [4, 1, 3],
    "runtime_min=122": [9, 2, 5],
    "runtime_max=98": [6, 11],
    "runtime_min=98&runtime_max=98": [6],
    "runtime_max=0": [],
}


def test_a_filter_keeps_what_it_says(movies: Client) -> None:
    assert {query: ids(movies, f"/v1/movies?{query}") for query in FILTERED} == FILTERED


def test_a_person_is_found_by_id_too(movies: Client) -> None:
    ridley = movies.get("/v1/movies/1").json()["directors"][0]["id"]

    assert ids(movies, f"/v1/movies?person={ridley}") == [1, 3]
    assert ids(movies, f"/v1/movies?director={ridley}&year=1982") == [3]


def test_all_filters_stand_together(movies: Client) -> None:
    query = (
        "genre=Horror|Drama&genre=Sci-Fi&language=english&country=united+kingdom&country=united+states&director=ridley+scott"
        "&person=sigourney+weaver&year=1979&year_from=1979&year_to=1979&rating_min=8.5&votes_min=900000&runtime_min=117"
        "&runtime_max=117&sort=-rating&limit=1"
    )

    assert ids(movies, f"/v1/movies?{query}") == [1]
    assert ids(movies, f"/v1/movies?{query}".replace("runtime_max=117", "runtime_max=116")) == []


def test_a_genre_is_found_by_a_name_of_signs_alone_and_by_a_very_long_one(client: Client) -> None:
    from matinee.write import batches

    long = "Æ" * 299
    batches.write([record(1, title="Signs", genres=["?!"]), record(2, title="Long", genres=[long])], "tests")

    assert client.titles(f"/v1/movies?genre={quote('?!')}") == ["Signs"]
    assert client.titles(f"/v1/movies?genre={quote(long)}") == ["Long"]


def test_a_person_of_a_very_long_name_is_found(client: Client) -> None:
    from matinee.write import batches

    name = "Æ" * 299
    batches.write([record(1, title="Long", cast=[name])], "tests")

    assert client.titles(f"/v1/movies?person={quote(name)}") == ["Long"]


@pytest.mark.sqlite_only("its connection is broken")
def test_a_genre_that_is_new_is_found_after_the_reader_had_to_open_the_file_again(movies: Client) -> None:
    from matinee.errors import NoReaderAvailable
    from matinee.write import batches

    assert ids(movies, "/v1/movies?genre=Western") == []
    batches.write([record(1, title="Rio Bravo", genres=["Western"])], "tests")
    with pytest.raises(NoReaderAvailable):
        movies.reader._source._execute("SELECT nothing", {})

    assert movies.titles("/v1/movies?genre=Western") == ["Rio Bravo"]


def test_the_link_header_leads_through_the_whole_list(movies: Client) -> None:
    path, met = "/v1/movies?sort=-year&limit=5&runtime_min=0", []
    while path:
        response = movies.get(path)
        met.append([item["id"] for item in response.json()["items"]])
        link = response.headers.get("link", "")
        assert link == "" or link.endswith('>; rel="next"')
        path = link.removeprefix("<http://testserver").partition(">")[0]

    assert met == [[6, 7, 5, 9, 2], [3, 1, 4, 11]]


def test_the_link_keeps_the_query_as_it_was_written(movies: Client) -> None:
    link = movies.get("/v1/movies?limit=1&genre=Sci-Fi%7CDrama&sort=+title").links["next"]["url"]

    assert link.startswith("http://testserver/v1/movies?limit=1&genre=Sci-Fi%7CDrama&sort=+title&cursor=")
    following = movies.get(movies.get(link).links["next"]["url"]).json()
    assert [item["title"] for item in following["items"]] == ["Aliens"]


@pytest.mark.parametrize(("limit", "pages"), [(1, [1] * 12), (6, [6, 6]), (11, [11, 1]), (12, [12]), (100, [12])])
def test_a_list_ends_exactly_where_it_ends(movies: Client, limit: int, pages: list[int]) -> None:
    sizes, cursor = [], ""
    while cursor is not None:
        page = movies.get(f"/v1/movies?limit={limit}" + (f"&cursor={cursor}" if cursor else "")).json()
        assert list(page) == ["items", "next_cursor", "has_more"]
        assert page["has_more"] == (page["next_cursor"] is not None)
        sizes.append(len(page["items"]))
        cursor = page["next_cursor"]

    assert sizes == pages


def test_the_last_page_has_no_link(movies: Client) -> None:
    response = movies.get("/v1/movies?limit=12")

    assert (response.json()["next_cursor"], response.json()["has_more"]) == (None, False)
    assert "link" not in response.headers


def test_every_order_is_walked_through_its_unknown_values(movies: Client) -> None:
    for order in [sign + name for name in ASCENDING for sign in ("-", "%2B")]:
        whole = ids(movies, f"/v1/movies?sort={order}")
        for limit in (1, 5):
            assert movies.walk(f"/v1/movies?sort={order}&limit={limit}") == whole, order


def cursor_of(client: Client, path: str) -> str:
    return client.get(path).json()["next_cursor"]


def test_a_cursor_goes_on_with_another_limit(movies: Client) -> None:
    cursor = cursor_of(movies, "/v1/movies?limit=2&genre=Action|Drama")

    page = movies.get(f"/v1/movies?limit=100&genre=Action|Drama&cursor={cursor}").json()

    assert [item["id"] for item in page["items"]] == [2, 7, 8, 11]
    assert page["next_cursor"] is None


def test_a_cursor_of_another_query_is_refused_and_says_so(movies: Client) -> None:
    cursor = cursor_of(movies, "/v1/movies?limit=2")
    queries = ("movies?sort=-year", "movies?sort=%2Bpopularity", "movies?genre=Action", "movies?year_from=1900", "search?q=a")

    details = [refused(movies, f"/v1/{query}&cursor={cursor}", "invalid-cursor") for query in queries]

    assert len(set(details)) == 1
    assert details[0].startswith("cursor was made for another query; keep filters and sort as they were")
    assert refused(movies, f"/v1/people/1?cursor={cursor}", "invalid-cursor") in details


def test_a_cursor_that_was_tampered_with_is_refused(movies: Client) -> None:
    cursor = cursor_of(movies, "/v1/movies?limit=2")
    flipped = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
    others = [cursor[:-1], cursor + "A", cursor + "=", cursor + "%0A", "%20" + cursor, cursor[4:], "x", "é", "%00", cursor * 9]

    for wrong in (*flipped, *others):
        detail = refused(movies, f"/v1/movies?limit=2&cursor={wrong}", "invalid-cursor")
        assert "is damaged or was not made by this catalogue" in detail


def test_a_cursor_of_another_installation_is_refused(movies: Client) -> None:
    cursor = cursor_of(movies, "/v1/movies?limit=2")

    with Client(movies.config, secret_key="another secret than the one of the tests") as other:
        detail = refused(other, f"/v1/movies?cursor={cursor}", "invalid-cursor")

    assert "was not made by this catalogue" in detail


def test_the_longest_cursor_is_as_long_as_the_documentation_says(client: Client) -> None:
    from matinee.write import batches

    batches.write([record(line, title="𠮷" * 499 + str(line)) for line in (1, 2)], "tests")

    cursor = cursor_of(client, "/v1/movies?sort=title&limit=1")

    assert 1_000 < len(cursor) <= CURSOR.schema["maxLength"]
    assert len(ids(client, f"/v1/movies?sort=title&limit=1&cursor={cursor}")) == 1


@pytest.mark.parametrize(
    ("query", "near"),
    [("genres=Drama", "did you mean 'genre'?"), ("Genre=Drama", "did you mean 'genre'?"), ("min_rating=8", "did you mean"),
     ("page=2", "There is no parameter 'page'"), ("offset=20", "There is no parameter 'offset'"), ("q=alien", "There is no")],
)  # fmt: skip
def test_an_unknown_parameter_is_refused_with_the_nearest_name(movies: Client, query: str, near: str) -> None:
    detail = refused(movies, f"/v1/movies?{query}", "unknown-parameter")

    assert near in detail
    assert detail.endswith(
        "Known: ids, genre, language, country, director, person, year, year_from, year_to, rating_min, votes_min, "
        "runtime_min, runtime_max, sort, limit, cursor."
    )


def test_a_parameter_that_stands_twice_is_refused(movies: Client) -> None:
    for name in ("year", "year_from", "rating_min", "votes_min", "runtime_max", "sort", "limit", "cursor"):
        assert refused(movies, f"/v1/movies?{name}=1&{name}=1") == f"{name} stands 2 times; give it once."


def test_an_empty_parameter_is_refused(movies: Client) -> None:
    for name in ("ids", "genre", "person", "year", "rating_min", "sort", "limit", "cursor"):
        for query in (f"{name}=", name, f"year_to=2000&{name}="):
            assert refused(movies, f"/v1/movies?{query}") == f"{name} is empty; give it a value or leave it out."


WHOLE_NUMBERS = ("year", "year_from", "year_to", "votes_min", "runtime_min", "runtime_max", "limit")
NO_WHOLE_NUMBERS = (
    "abc", "-1", "1.5", "1e2", "0x10", "1_0", "%201", "1%0A", "+1", "٣", "½", "NaN", "9" * 20, "9" * 5_000, "%00",
)  # fmt: skip


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_a_number_that_is_odd_or_huge_is_refused(movies: Client, name: str) -> None:
    details = [refused(movies, f"/v1/movies?{name}={value}") for value in NO_WHOLE_NUMBERS]

    assert {detail.startswith(f"{name} ") and " is not a whole number from " in detail for detail in details} == {True}
    assert max(map(len, details)) < 200


def test_a_rating_is_a_number_from_0_to_10(movies: Client) -> None:
    for value in ("10.01", "-0.1", "nan", "inf", "-inf", "1e400", "8,5", "1_0", "٣", "eight"):
        assert refused(movies, f"/v1/movies?rating_min={value}").endswith(" is not a number from 0 to 10.")


@pytest.mark.parametrize("limit", ["0", "101", "-5", "ten"])
def test_a_page_has_1_to_100_movies(movies: Client, limit: str) -> None:
    assert refused(movies, f"/v1/movies?limit={limit}") == f"limit {limit!r} is not a whole number from 1 to 100."


@pytest.mark.parametrize(("limit", "size"), [("1", 1), ("100", ALL), ("007", 7)])
def test_a_limit_within_its_bounds_is_taken(movies: Client, limit: str, size: int) -> None:
    assert len(ids(movies, f"/v1/movies?limit={limit}")) == size


def test_an_order_that_there_is_not_is_refused_with_the_nearest_one(movies: Client) -> None:
    detail = refused(movies, "/v1/movies?sort=-titel")

    assert detail == ("sort '-titel' is no order; did you mean 'title'? Orders: popularity, rating, votes, year, title, added.")


def test_an_order_in_any_other_spelling_is_refused(movies: Client) -> None:
    for spelling in ("-", "+", "--year", "-%2Byear", "year-", "YEAR", "movie_id", "year,title", "%00"):
        assert "is no order" in refused(movies, f"/v1/movies?sort={spelling}")


def test_a_list_of_more_than_100_ids_is_refused(movies: Client) -> None:
    wanted = ",".join(map(str, range(1, 102)))

    assert refused(movies, f"/v1/movies?ids={wanted}").startswith("ids has 101 ids; 100 are allowed.")
    assert ids(movies, f"/v1/movies?ids={wanted.removesuffix(',101')}") == list(range(1, ALL + 1))


def test_ids_come_in_the_order_asked_and_no_sort_may_say_otherwise(movies: Client) -> None:
    reason = "sort cannot stand with ids: they come in the order asked."

    assert refused(movies, "/v1/movies?ids=1,2&sort=title") == reason


def test_ids_are_paged_when_a_limit_says_so(movies: Client) -> None:
    assert movies.walk("/v1/movies?ids=9,99,4,9,1,7&limit=2") == [9, 4, 1, 7]
    assert len(ids(movies, f"/v1/movies?ids={','.join(map(str, range(1, ALL + 1)))}")) == ALL


def test_an_id_that_no_movie_can_have_is_refused(movies: Client) -> None:
    for wrong in ("1,,2", ",", "one", "imdb:348", "imdb", "imdb:", ":1", "netflix:1", "1;2", "1.0", "-1", "%00"):
        assert refused(movies, f"/v1/movies?ids={wrong}").startswith("ids ")


def test_an_id_that_no_movie_has_is_left_out(movies: Client) -> None:
    for known_to_nobody in ("0", "4294967296", "9" * 50, "imdb:tt9999999"):
        assert ids(movies, f"/v1/movies?ids={known_to_nobody},2") == [2]


def test_too_many_choices_are_refused(movies: Client) -> None:
    assert "has 21 choices; 20 are allowed" in refused(movies, "/v1/movies?genre=" + "|".join(map(str, range(21))))
    assert "stands 21 times; 20 are allowed" in refused(movies, "/v1/movies?" + "&".join(["genre=Drama"] * 21))


REFUSED = {
    "/v1/movies?genre=%FF": (400, "invalid-parameter"),
    "/v1/movies?" + "&".join(f"a{n}=1" for n in range(201)): (400, "invalid-parameter"),
    "/v1/movies?genre=" + "a" * 8_192: (400, "invalid-parameter"),
    "/v1/movies?genre=" + "a" * 301: (400, "invalid-parameter"),
    "/v1/movies/alien": (400, "invalid-parameter"),
    "/v1/movies/1?genre=Drama": (400, "unknown-parameter"),
    "/v1/movies/99": (404, "not-found"),
    "/v1/people/99999": (404, "not-found"),
    "/v1/people/ann": (404, "not-found"),
    "/v1/nothing": (404, "not-found"),
    "/v2/movies": (404, "not-found"),
    "/v1/search": (400, "invalid-parameter"),
    "/v1/suggest?q=a&limit=5": (400, "unknown-parameter"),
    "/v1/genres?limit=1": (400, "unknown-parameter"),
    "/v1/changes?since=-1": (400, "invalid-parameter"),
}


def test_every_refusal_has_the_one_shape(movies: Client) -> None:
    for path, (status, slug) in REFUSED.items():
        assert refused(movies, path, slug, status)


def test_a_filter_matches_nothing_with_a_whole_empty_page(movies: Client) -> None:
    empty: dict[str, Any] = {"items": [], "next_cursor": None, "has_more": False}

    for query in ("genre=nothing", "person=nobody", "year=1870", "ids=99", "runtime_max=1", "country=%7C"):
        assert movies.get(f"/v1/movies?{query}").json() == empty, query

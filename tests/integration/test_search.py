"""GET /v1/search and /v1/suggest: what is found however it is typed, in which order, and that no query is too odd."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.client import Client
from tests.integration.test_lists import refused
from tests.movies import record

EMPTY: dict[str, Any] = {"items": [], "next_cursor": None, "has_more": False}


def fill(*stated: dict[str, Any] | str) -> None:
    """Add movies; a text is a title."""
    from matinee.write import batches

    movies = [{"title": movie} if isinstance(movie, str) else movie for movie in stated]
    outcome = batches.write([record(line, **{"year": 1900 + line} | movie) for line, movie in enumerate(movies, 1)], "tests")
    assert (outcome.added, outcome.rejected) == (len(stated), [])


def found(client: Client, q: str, more: str = "") -> list[str]:
    return client.titles(f"/v1/search?q={quote(q)}{more}")


TYPED = {
    "ALIEN": ["Alien", "Aliens"],
    "  alien  ": ["Alien", "Aliens"],
    "amelie": ["Amélie"],
    "AMÉLIE": ["Amélie"],
    "Ame\u0301lie": ["Amélie"],
    "fabuleux destin d amelie": ["Amélie"],
    "destin d'Amélie": ["Amélie"],
    "destin damelie": ["Amélie"],
    "schindlers list": ["Schindler's List"],
    "schindler's list": ["Schindler's List"],
    "schindler’s list": ["Schindler's List"],
    "Schindler s List": ["Schindler's List"],
    "spiderman": ["Spider-Man"],
    "spider man": ["Spider-Man"],
    "Spider-Man": ["Spider-Man"],
    "spider–man": ["Spider-Man"],
    "walle": ["WALL·E"],
    "wall e": ["WALL·E"],
    "WALL-E": ["WALL·E"],
    "wall.e": ["WALL·E"],
    "fast and furious": ["Fast & Furious"],
    "Fast & Furious": ["Fast & Furious"],
    "fast&furious": ["Fast & Furious"],
    "Fast, Furious!": ["Fast & Furious"],
    "jeanpierre jeunet": ["Amélie"],
    "jean-pierre": ["Amélie"],
}


def test_case_marks_and_punctuation_do_not_matter(movies: Client) -> None:
    assert {q: found(movies, q) for q in TYPED} == TYPED


def test_a_query_may_have_the_punctuation_and_the_title_not(client: Client) -> None:
    fill("Spiderman", "Schindlers List", "Walle", "Ödipus & Co", "Ödipus and Co 2")

    asked = ("spider-man", "schindler's list", "wall·e", "odipus and co", "Ödipus & Co 2")

    assert [found(client, q)[0] for q in asked] == ["Spiderman", "Schindlers List", "Walle", "Ödipus & Co", "Ödipus and Co 2"]


UNFINISHED = {
    "al": ["Alien", "Aliens"],
    "blade r": ["Blade Runner"],
    "runner bl": ["Blade Runner"],
    "schindlers li": ["Schindler's List"],
    "star w": ["Star Wars", "The Star Witness"],
    "sta wars": [],
    "lien": [],
    "ridley sc": ["Alien", "Blade Runner"],
}


def test_the_last_word_may_be_unfinished_and_no_other(movies: Client) -> None:
    assert {q: found(movies, q) for q in UNFINISHED} == UNFINISHED


def test_the_exact_title_comes_first_then_what_begins_so_then_what_has_all_words(client: Client) -> None:
    fill(
        {"title": "A Star Is Born", "popularity": 90},
        {"title": "Starship", "popularity": 80},
        {"title": "Star Wars", "popularity": 70},
        {"title": "Cast", "popularity": 60, "cast": ["Star Jones"]},
        {"title": "Star", "popularity": 1},
        {"title": "Stella", "original_title": "Star!", "popularity": 2},
        "The Star",
    )

    assert found(client, "star") == ["Star", "Stella", "Starship", "Star Wars", "A Star Is Born", "Cast", "The Star"]


def test_among_equals_the_more_popular_comes_first_and_then_the_newer(client: Client) -> None:
    fill(
        *({"title": f"Star {number}", "popularity": popularity} for number, popularity in enumerate((None, 5, 5, 0, 80, None)))
    )

    # Unknown popularity ranks as none at all.
    assert found(client, "star") == ["Star 4", "Star 2", "Star 1", "Star 5", "Star 3", "Star 0"]


def test_a_movie_that_became_popular_moves_up(movies: Client) -> None:
    assert found(movies, "alien") == ["Alien", "Aliens"]
    assert found(movies, "scott") == ["Alien", "Blade Runner"]

    etag = movies.get("/v1/movies/3").headers["etag"]
    patch = movies.write(
        "PATCH", "/v1/movies/3", {"popularity": 99.5}, if_match=etag, content_type="application/merge-patch+json"
    )

    assert patch.status_code == 200
    assert found(movies, "scott") == ["Blade Runner", "Alien"]


def test_people_are_found_with_words_of_the_title_beside_them(movies: Client) -> None:
    asked = ("sigourney weaver", "weaver alien", "alien weaver scott", "harrison ford", "hamill star", "weaver jeunet")

    assert [found(movies, q) for q in asked] == [
        ["Alien", "Aliens"], ["Alien", "Aliens"], ["Alien"], ["Star Wars", "Blade Runner"], ["Star Wars"], [],
    ]  # fmt: skip


def test_years_beside_the_year_are_kept_and_rank_lower_and_others_are_dropped(client: Client) -> None:
    fill(
        *({"title": "Double Exposure", "year": year, "popularity": popularity, "directors": [str(popularity)]}
          for popularity, year in enumerate((1980, 1981, 1982, 1983, 1984, 1984)))
    )  # fmt: skip
    fill({"title": "Double Exposure Again", "year": 1983, "popularity": 99}, {"title": "Double Exposure", "year": None})

    items = client.get("/v1/search?q=double+exposure&year=1983").json()["items"]

    assert [(item["title"], item["year"]) for item in items] == [
        ("Double Exposure", 1983), ("Double Exposure", 1984), ("Double Exposure", 1984), ("Double Exposure", 1982),
        ("Double Exposure Again", 1983),
    ]  # fmt: skip


def test_bounds_of_years_keep_nothing_beside_them(movies: Client) -> None:
    assert found(movies, "alien", "&year_from=1980") == ["Aliens"]
    assert found(movies, "alien", "&year=1979&year_to=1979") == ["Alien"]
    assert found(movies, "alien", "&year=1978") == ["Alien"]
    assert found(movies, "alien", "&year=1977") == []


FILTERED = {
    "&genre=action": ["Aliens"],
    "&genre=sci-fi|drama": ["Alien", "Aliens"],
    "&genre=sci-fi&genre=horror": ["Alien"],
    "&genre=nothing": [],
    "&genre=nothing|horror": ["Alien"],
    "&language=english&country=united+kingdom": ["Alien"],
    "&director=james+cameron": ["Aliens"],
    "&person=sigourney+weaver&runtime_min=120": ["Aliens"],
    "&rating_min=8.5": ["Alien"],
    "&votes_min=800000": ["Alien"],
    "&runtime_max=117": ["Alien"],
}


def test_a_search_can_be_filtered_as_a_list_can(movies: Client) -> None:
    assert {more: found(movies, "alien", more) for more in FILTERED} == FILTERED


@pytest.mark.parametrize("q", ["common", "c", "common title", "the comm"])
def test_paging_through_equals_meets_each_movie_once(client: Client, q: str) -> None:
    fill(*(f"{'The ' * (n % 2)}Common {'Title ' * (n % 3)}{n}" for n in range(60)))
    whole = [item["id"] for item in client.get(f"/v1/search?q={quote(q)}&limit=100").json()["items"]]

    walked = {limit: client.walk(f"/v1/search?q={quote(q)}&limit={limit}") for limit in (1, 7, 30)}

    assert len(set(whole)) == len(whole) >= 20
    assert walked == {1: whole, 7: whole, 30: whole}


def test_the_link_header_leads_through_a_search(movies: Client) -> None:
    first = movies.get("/v1/search?q=s&limit=2&genre=Sci-Fi%7CAction")
    second = movies.get(first.links["next"]["url"])

    pages = [[item["title"] for item in page.json()["items"]] for page in (first, second)]
    assert pages == [["Star Wars", "Spider-Man"], ["Alien", "Aliens"]]


@pytest.mark.parametrize("other", ["q=spider+man", "q=spiderman", "q=spider-man&year=2002", "q=spider-man&genre=Action"])
def test_a_cursor_of_another_search_is_refused(client: Client, other: str) -> None:
    fill("Spider-Man", "Spider-Man 2", "Spiderman", "Spider Man")
    cursor = client.get("/v1/search?q=spider-man&limit=1").json()["next_cursor"]

    detail = refused(client, f"/v1/search?{other}&cursor={cursor}", "invalid-cursor")

    assert detail.startswith("cursor was made for another query")


def test_a_cursor_goes_on_when_only_case_differs(client: Client) -> None:
    fill("Spider-Man", "Spider-Man 2")
    cursor = client.get("/v1/search?q=spider-man&limit=1").json()["next_cursor"]

    assert client.titles(f"/v1/search?q=SPIDER-MAN&cursor={cursor}") == ["Spider-Man 2"]


def test_a_query_of_signs_alone_finds_an_empty_page(movies: Client) -> None:
    for q in ("!!!", "-", "'", '"', "*", "^", "()", "·", "…", " ", "\t", "%", "_", "\\", "😀", "\x00", "\u0301", "\ue000", "᳀"):
        assert movies.get(f"/v1/search?q={quote(q)}").json() == EMPTY, q
        assert movies.get(f"/v1/suggest?q={quote(q)}").json() == {"items": []}, q


OPERATORS = {
    "alien AND blade": [],
    "alien OR blade": [],
    "alien NOT blade": [],
    "NEAR(alien aliens)": [],
    "NEAR(alien, 5)": [],
    '"alien"': ["Alien", "Aliens"],
    '"star wars"': ["Star Wars"],
    '"wars star': ["Star Wars"],
    "alien*": ["Alien", "Aliens"],
    "ali* aliens": [],
    "^alien": ["Alien", "Aliens"],
    "title:alien": [],
    "title : alien": [],
    "{title people} : scott": [],
    "people:scott": [],
    "-alien": ["Alien", "Aliens"],
    "alien -aliens": [],
    "(alien)": ["Alien", "Aliens"],
    "((alien": ["Alien", "Aliens"],
    "alien + weaver": ["Alien"],
    "' OR 1=1 --": [],
    "alien; DROP TABLE movie": [],
    "f1": [],
    "y1979": [],
    "facets:y1979": [],
    "100%": [],
    "a_i": ["A Day in the Country"],
}


def test_operators_of_the_full_text_index_are_plain_words(movies: Client) -> None:
    assert {q: found(movies, q) for q in OPERATORS} == OPERATORS


def test_operators_are_found_in_titles(client: Client) -> None:
    titles = [
        "And",
        "Or",
        "Not Near",
        "NEAR(",
        "To Be OR Not to Be",
        '"Quoted"',
        "What*",
        "M*A*S*H",
        "(500) Days",
        "-30-",
        "9:05",
    ]
    fill(*titles)

    asked = ["AND", "OR", "NOT", "NEAR(", "OR not", '"quoted"', "what*", "m*a*s*h", "(500)", "-30-", "9:05"]

    assert [found(client, q)[:1] for q in asked] == [
        ["And"], ["Or"], ["Not Near"], ["NEAR("], ["To Be OR Not to Be"], ['"Quoted"'], ["What*"], ["M*A*S*H"], ["(500) Days"],
        ["-30-"], ["9:05"],
    ]  # fmt: skip


def test_a_query_of_any_signs_is_answered(movies: Client) -> None:
    for code in (*range(1, 256), *range(0x300, 0x3400, 31), *range(0x1F000, 0x1FA00, 31), 0x10FFFF):
        response = movies.get(f"/v1/search?q={quote('a' + chr(code) + 'b')}")
        assert response.status_code == 200, hex(code)


def test_many_words_are_answered(movies: Client) -> None:
    assert found(movies, "a " * 100) == ["A Day in the Country", "The Star Witness"]
    assert found(movies, " ".join(["alien"] * 33)) == ["Alien"]


def test_a_query_that_is_missing_or_too_long_is_refused(movies: Client) -> None:
    for address in ("/v1/search", "/v1/suggest"):
        assert refused(movies, address) == "q is missing; say what to search for, as ?q=alien."
        assert refused(movies, f"{address}?q=") == "q is empty; give it a value or leave it out."
        assert refused(movies, f"{address}?q=" + "a" * 201) == "q has 201 characters; 200 are allowed."
        assert movies.get(f"{address}?q=" + "a" * 200).status_code == 200
        assert movies.get(f"{address}?q=" + quote("𠮷" * 200)).status_code == 200


def test_a_search_has_no_order_but_its_own(movies: Client) -> None:
    assert refused(movies, "/v1/search?q=alien&sort=year", "unknown-parameter").startswith("There is no parameter 'sort'")
    assert refused(movies, "/v1/search?q=alien&ids=1", "unknown-parameter").startswith("There is no parameter 'ids'")


def suggested(client: Client, q: str) -> list[tuple[str, str, int | None]]:
    items = client.get(f"/v1/suggest?q={quote(q)}").json()["items"]
    return [(item["kind"], item["text"], item["year"]) for item in items]


def test_titles_and_people_are_suggested(movies: Client) -> None:
    assert suggested(movies, "al") == [("movie", "Alien", 1979), ("movie", "Aliens", 1986)]
    assert suggested(movies, "ridley") == [("person", "Ridley Scott", None)]
    assert suggested(movies, "Jean r") == [("person", "Jean Renoir", None)]
    assert suggested(movies, "w") == [
        ("movie", "WALL·E", 2008), ("movie", "Star Wars", 1977), ("movie", "The Star Witness", 1931),
        ("person", "Sigourney Weaver", None), ("person", "Willem Dafoe", None), ("person", "William A. Wellman", None),
    ]  # fmt: skip


def test_a_suggestion_leads_to_what_it_names(movies: Client) -> None:
    (person,) = movies.get("/v1/suggest?q=ridley").json()["items"]
    alien = movies.get("/v1/suggest?q=alien").json()["items"][0]

    assert movies.get(f"/v1/people/{person['id']}").json()["name"] == "Ridley Scott"
    assert movies.get(f"/v1/movies/{alien['id']}").json()["title"] == "Alien"


def test_people_of_popular_movies_are_suggested_first(client: Client) -> None:
    fill(*({"title": f"M{number}", "popularity": popularity, "cast": [f"Ann {number}"]}
           for number, popularity in enumerate((5, 80, None, 40))))  # fmt: skip

    assert suggested(client, "ann") == [("person", f"Ann {number}", None) for number in (1, 3, 0, 2)]


@pytest.mark.parametrize(
    ("titles", "people", "expected"), [(20, 20, (7, 3)), (20, 0, (10, 0)), (0, 20, (0, 10)), (4, 20, (4, 6))]
)
def test_ten_are_suggested_at_most_with_room_for_three_people(
    client: Client, titles: int, people: int, expected: tuple[int, int]
) -> None:
    fill(
        *(f"Common {number}" for number in range(titles)),
        {"title": "X", "cast": [f"Common {number}" for number in range(people)]},
    )

    kinds = [kind for kind, _, _ in suggested(client, "common")]

    assert (kinds.count("movie"), kinds.count("person")) == expected


def test_each_person_is_suggested_once_whatever_they_did(client: Client) -> None:
    fill(
        {"title": "One", "directors": ["Ann Lee"], "writers": ["Ann Lee"], "cast": ["Ann Lee"]},
        {"title": "Two", "cast": ["Ann Lee"]},
    )

    assert suggested(client, "ann lee") == [("person", "Ann Lee", None)]


def test_nobody_is_suggested_for_words_of_two_people(movies: Client) -> None:
    assert suggested(movies, "ridley weaver") == []

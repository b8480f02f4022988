"""The admin's lists: each page is an index range, whatever is searched for, filtered by, or written into the address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from matinee.storage.models import Change, Genre, Person
from matinee.write import batches, keys, movies, names, purges
from tests import postgres
from tests.integration.admin_client import GENRES, KEYS, LOG, MOVIES, PEOPLE, Admin, Page, admin
from tests.movies import record

FILMS = 120
NUMBERED = [f"Film {at}" for at in range(1, FILMS + 1)]


@pytest.fixture
def ann(catalogue_home: Path) -> Admin:
    return admin("ann")


def add(*films: dict[str, Any]) -> None:
    outcome = batches.write([record(line, **film) for line, film in enumerate(films, start=1)], "tests")
    assert outcome.rejected == []


def add_numbered(**more: Any) -> None:
    add(*({"title": title, "directors": [f"Person {title}"], **more} for title in NUMBERED))


def walk(ann: Admin, path: str) -> tuple[list[str], list[Page]]:
    """Return the first column of all pages, and the pages."""
    pages = [ann.get(path)]
    while link := pages[-1].link("Next page"):
        assert len(pages) < 20
        pages.append(ann.get(path.partition("?")[0] + link))
    return [row for page in pages for row in page.rows()], pages


def assert_cheap(page: Page) -> None:
    """Check that nothing was counted, skipped or sorted, and that nothing but a walk that ends by itself was a scan.

    The plans are SQLite's: PostgreSQL rightly reads a table of twelve rows from end to end.
    """
    assert page.status == 200
    for query in page.queries:
        assert "COUNT(" not in query.upper(), query
        assert "OFFSET" not in query.upper(), query
        if query.startswith("SELECT") and not postgres.wanted():
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN QUERY PLAN " + query.replace("%", "%%"))
                plan = [row[3] for row in cursor.fetchall()]
            scans = [step for step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
            assert not any("TEMP B-TREE" in step for step in plan), (query, plan)
            assert not scans or "LIMIT" in query, (query, plan)


def test_the_pages_of_movies_show_each_once_the_newest_first(ann: Admin) -> None:
    add_numbered()

    titles, pages = walk(ann, MOVIES)

    assert titles == NUMBERED[::-1]
    assert [len(page.rows()) for page in pages] == [50, 50, 20]
    assert [page.link("First page") for page in pages] == [None, "?", "?"]


def test_a_later_page_takes_as_many_queries_as_the_first(ann: Admin) -> None:
    add_numbered(genres=["Drama"])

    _, pages = walk(ann, MOVIES)
    _, people = walk(ann, PEOPLE)

    assert [len(page.queries) for page in pages] == [len(pages[0].queries)] * 3
    assert [len(page.queries) for page in people] == [len(people[0].queries)] * 3
    for page in (*pages, *people):
        assert_cheap(page)


def test_a_search_shows_exact_titles_first_and_each_movie_once_over_all_pages(ann: Admin) -> None:
    add_numbered(popularity=5)
    add({"title": "Film", "popularity": 1}, {"title": "A film", "popularity": 9})

    titles, pages = walk(ann, f"{MOVIES}?q=film")

    assert titles[0] == "Film"
    assert titles[-1] == "A film"
    assert sorted(titles) == sorted(["Film", "A film", *NUMBERED])
    assert pages[1].link("First page") == "?q=film"
    for page in pages:
        assert_cheap(page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("alien", ["Alien", "Aliens"]),
        ("wall-e", ["WALL·E"]),
        ("fabuleux destin", ["Amélie"]),
        ("weaver", ["Alien", "Aliens"]),
        ("tt0078748", ["Alien"]),
        ("imdb:tt0090605", ["Aliens"]),
        ("tmdb:348", ["Alien"]),
        ("2", ["Aliens"]),
        ("imdb:tt9999999", []),
        ("!!!", []),
        ("'\"*NOT AND(", []),
        ("nowhere", []),
    ],
)
def test_movies_are_found_by_titles_people_and_ids(small_catalogue: Path, query: str, found: list[str]) -> None:
    from urllib.parse import quote

    page = admin("ann").get(f"{MOVIES}?q={quote(query)}")

    assert page.rows() == found
    assert_cheap(page)


def test_a_title_that_is_a_number_is_found_beside_the_movie_with_that_id(ann: Admin) -> None:
    add({"title": "First"}, {"title": "1"}, {"title": "1 more"})

    assert ann.get(f"{MOVIES}?q=1").rows() == ["First", "1", "1 more"]


def test_filters_hold_with_and_without_a_search_and_on_the_next_page(ann: Admin) -> None:
    add_numbered(genres=["Drama"], year=1999)
    add({"title": "Film noir", "genres": ["Crime"], "year": 1999}, {"title": "Film late", "genres": ["Drama"], "year": 2001})
    drama = Genre.objects.get(name="Drama").pk

    by_genre, genre_pages = walk(ann, f"{MOVIES}?genre={drama}")
    by_year, year_pages = walk(ann, f"{MOVIES}?year=1999")
    by_both, both_pages = walk(ann, f"{MOVIES}?genre={drama}&year=1999")
    searched, searched_pages = walk(ann, f"{MOVIES}?q=film&genre={drama}&year=1999")

    assert by_genre == ["Film late", *NUMBERED[::-1]]
    assert by_year == ["Film noir", *NUMBERED[::-1]]
    assert by_both == NUMBERED[::-1]
    assert sorted(searched) == sorted(NUMBERED)
    for page in (*genre_pages, *year_pages, *both_pages, *searched_pages):
        assert_cheap(page)


@pytest.mark.parametrize("path", [MOVIES, PEOPLE, GENRES, KEYS, LOG, "/admin/auth/user/", "/admin/auth/group/"])
def test_no_address_makes_a_list_count_or_skip(ann: Admin, path: str) -> None:
    add_numbered(genres=["Drama"])
    keys.create("Kiosk", "read", "tests")

    for query in ("", "?p=3", "?all=1", "?o=2.-1", "?_facets=True", "?q=film", "?q=1&p=2"):
        page = ann.get(path + query)

        assert page.status == 200, path + query
        assert not [sql for sql in page.queries if "COUNT(" in sql.upper() or "OFFSET" in sql.upper()], path + query


@pytest.mark.parametrize("query", ["?after=x", "?q=film&after=x", "?year=x", "?genre=x", "?nothing=1"])
def test_an_address_that_means_nothing_leads_back_to_the_first_page(ann: Admin, query: str) -> None:
    add_numbered()

    page = ann.get(MOVIES + query)

    assert page.status == 200
    assert page.rows() == NUMBERED[:-51:-1]


def test_people_are_found_by_the_beginning_of_their_folded_name(ann: Admin) -> None:
    for name in ("Émile Zola", "Emil Jannings", "Emily Blunt", "Zoe", "Emi", "Xemil"):
        names.create_person(name, "tests")

    page = ann.get(f"{PEOPLE}?q=EMIL")

    assert page.rows() == ["Emil Jannings", "Émile Zola", "Emily Blunt"]
    assert_cheap(page)
    assert ann.get(f"{PEOPLE}?q=4").rows() == ["Zoe"]
    assert ann.get(f"{PEOPLE}?q=!!").rows() == []


def test_the_pages_of_a_search_for_people_show_each_once_by_name(ann: Admin) -> None:
    for at in range(120):
        names.create_person(f"Ann {at % 40:02}", "tests")

    found, pages = walk(ann, f"{PEOPLE}?q=ann")

    assert found == sorted(Person.objects.values_list("name", flat=True))
    for page in pages:
        assert_cheap(page)


def test_genres_are_listed_by_name_without_the_other_facets(ann: Admin) -> None:
    add({"title": "A", "genres": ["War", "Drama"], "companies": ["Acme"], "languages": ["English"]})

    page = ann.get(GENRES)

    assert page.rows() == ["Drama", "War"]
    assert ann.get(f"{GENRES}?q=wa").rows() == ["War"]
    assert_cheap(page)


def test_options_for_people_and_genres_are_few_and_cheap(ann: Admin) -> None:
    for at in range(30):
        names.create_person(f"Ridley {at:02}", "tests")
    twins = [names.create_person("Ridley Scott", "tests") for _ in range(2)]
    names.create_genre("Science Fiction", "tests")

    many = ann.get(f"{PEOPLE}options/?term=ridl")
    few = ann.client.get(f"{PEOPLE}options/?term=Ridley S").json()
    exact = ann.client.get(f"{PEOPLE}options/?term=Ridley Scott").json()
    genres = ann.get(f"{GENRES}options/?term=sci")

    assert len(ann.client.get(f"{PEOPLE}options/?term=ridl").json()["results"]) == 21
    assert few == {
        "results": [
            {"id": str(twins[0]), "text": f"Ridley Scott (id {twins[0]})"},
            {"id": str(twins[1]), "text": f"Ridley Scott (id {twins[1]})"},
            {"id": "+Ridley S", "text": "Add “Ridley S” as a new person"},
        ],
        "pagination": {"more": False},
    }
    assert [option["id"] for option in exact["results"]] == [str(pk) for pk in twins]
    assert ann.client.get(f"{GENRES}options/?term=sci").json()["results"] == [
        {"id": "Science Fiction", "text": "Science Fiction"}
    ]
    for page in (many, genres):
        assert len(page.queries) == 4
        assert_cheap(page)


def test_options_are_not_for_whoever_is_not_signed_in_or_may_not_look(ann: Admin) -> None:
    guest = admin("guest", superuser=False)
    ann.client.logout()

    assert ann.client.get(f"{PEOPLE}options/?term=a").status_code == 302
    assert guest.client.get(f"{PEOPLE}options/?term=a").status_code == 403


def test_the_log_is_searched_by_thing_and_by_actor(ann: Admin) -> None:
    add_numbered()
    movies.delete(7, "admin:bob", None)
    names.create_person("New", "admin:bob")

    by_thing = ann.get(f"{LOG}?q=movie 7")
    by_number = ann.get(f"{LOG}?q=7")
    by_actor = ann.get(f"{LOG}?q=admin:bob")
    by_subject = ann.get(f"{LOG}?subject=person")
    by_kind = ann.get(f"{LOG}?kind=deleted")

    assert by_thing.rows() == ["121", "7"]
    assert by_number.rows() == ["121", "7"]
    assert by_actor.rows() == ["122", "121"]
    assert by_subject.rows() == ["122"]
    assert by_kind.rows() == ["121"]
    for page in (by_thing, by_actor, by_subject, by_kind):
        assert_cheap(page)


def test_a_purge_is_told_in_words(ann: Admin) -> None:
    add_numbered()
    one, everything = purges.purge(7, "cli:purge"), purges.purge(None, "cli:purge")

    listed = ann.get(f"{LOG}?subject=cache&kind=purged")
    searched = ann.get(f"{LOG}?q=cache 7")
    shown = ann.get(f"{LOG}{everything.position}/change/")

    assert (listed.rows(), searched.rows()) == ([str(everything.position), str(one.position)], [str(one.position)])
    assert "what caches keep of movie 7" in listed.words
    assert "all that caches keep" in listed.words
    assert "Nothing in the catalogue: every server dropped what it kept in its caches." in shown.words
    assert_cheap(listed)


def test_a_rare_change_is_reached_window_by_window(ann: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matinee.http.admin.changes.WINDOW_POSITIONS", 40)
    names.create_person("Rare", "tests")
    add_numbered()

    found, pages = walk(ann, f"{LOG}?subject=person")

    assert found == ["1"]
    assert [len(page.rows()) for page in pages] == [0, 0, 0, 1]


def test_the_log_of_one_thing_is_where_its_history_button_leads(ann: Admin) -> None:
    add_numbered()

    page = ann.get(f"{MOVIES}7/history/")

    assert page.rows() == ["7"]
    assert Change.objects.get(pk=7).subject_id == 7

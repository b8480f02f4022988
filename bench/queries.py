"""The kinds of lists and searches that paging.py takes the time of, made of what the catalogue holds. Reads only."""

from __future__ import annotations

import sqlite3
from urllib.parse import urlencode

from matinee.domain.text import fold

_ORDERS = ("popularity", "rating", "votes", "year", "title", "added")


def kinds(connection: sqlite3.Connection, movies: int) -> dict[str, list[str]]:
    """Return questions by kind; see timing.py for how one is written."""
    common, second, middle, rare = (name for name, _ in genres(connection, movies))
    people = _people(connection)
    found = {f"sort={order}": [f"sort={order}"] for order in _ORDERS}
    for label, name in (("common genre", common), ("middling genre", middle), ("rare genre", rare)):
        found |= {f"{label}, sort={order}": [_list(genre=name, sort=order)] for order in _ORDERS}
    found |= {
        "two common genres (both)": [_list(genre=[common, second])],
        "two common genres, sort=title": [_list(genre=[common, second], sort="title")],
        "common and rare genre (both)": [_list(genre=[common, rare])],
        "any of two genres (a|b)": [_list(genre=f"{common}|{second}")],
        "any of two rare genres (a|b)": [_list(genre=f"{middle}|{rare}")],
        "person by id": [_list(person=person_id) for person_id, _ in people],
        "person by name": [_list(person=name) for _, name in people],
        "director by name, sort=year": [_list(director=name, sort="year") for _, name in people],
        "common genre and person": [_list(genre=common, person=person_id) for person_id, _ in people],
        "year": [_list(year=year) for year in range(1950, 2012, 4)],
        "year, sort=rating": [_list(year=year, sort="rating") for year in range(1950, 2012, 4)],
        "year, common genre": [_list(year=year, genre=common) for year in range(1950, 2012, 4)],
        "year, rare genre": [_list(year=year, genre=rare) for year in range(1950, 2012, 4)],
        "one year as a range": [_list(year_from=1921, year_to=1921)],
        "decade, popularity": [_list(year_from=1990, year_to=1999)],
        "decade long ago, popularity": [_list(year_from=1920, year_to=1929)],
        "rating_min=9": [_list(rating_min=9)],
        "rating_min=9.9": [_list(rating_min=9.9)],
        "votes_min above all": [_list(votes_min=1_999_999_999)],
        "votes_min above all, common genre": [_list(votes_min=1_999_999_999, genre=common)],
        "runtime_min=240": [_list(runtime_min=240)],
        "common genre, rating_min=9, sort=votes": [_list(genre=common, rating_min=9, sort="votes")],
        "language and country": [_list(language="French", country="Japan")],
        "no such genre": [_list(genre="no such genre")],
    }
    return found | _searches(connection, common, rare, people)


def _searches(connection: sqlite3.Connection, common: str, rare: str, people: list[tuple[int, str]]) -> dict[str, list[str]]:
    titles = _titles(connection)
    words = [_search(q=word) for word in ("the", "love", "a", "of", "man", "night")]
    return {
        **{f"search {word!r}": [_search(q=word)] for word in ("the", "love", "a", "of", "the love", "zzzz")},
        "search common word and common genre": [_search(q="the", genre=common)],
        "search common word and rare genre": [_search(q="the", genre=rare)],
        "search common word and year": [_search(q="the", year=1999)],
        "search common word, rating_min=9.9": [_search(q="the", rating_min=9.9)],
        "search common word, year_to=1925": [_search(q="the", year_to=1925)],
        "search two common words": [_search(q="love night")],
        "search title": [_search(q=title) for title in titles],
        "search person": [_search(q=name) for _, name in people],
        "search common word and person": [_search(q=f"the {name}") for _, name in people],
        "prefix typing, 1 letter": [_search(q=letter) for letter in "tlsabm"],
        "prefix typing, 2 letters": [_search(q=title[:2]) for title in titles],
        "prefix typing, 3 letters": [_search(q=title[:3]) for title in titles],
        "prefix typing, 5 letters": [_search(q=title[:5]) for title in titles],
        "suggest, 1 letter": [f"suggest {urlencode({'q': letter})}" for letter in "tlsabm"],
        "suggest, 3 letters": [f"suggest {urlencode({'q': title[:3]})}" for title in titles],
        "suggest, common words": [question.replace("search", "suggest", 1) for question in words],
        "suggest, title": [f"suggest {urlencode({'q': title})}" for title in titles],
        "suggest, person": [f"suggest {urlencode({'q': name})}" for _, name in people],
    }


def _list(**parameters: object) -> str:
    return urlencode(parameters, doseq=True)


def _search(**parameters: object) -> str:
    return f"search {urlencode(parameters)}"


def genres(connection: sqlite3.Connection, movies: int) -> list[tuple[str, int]]:
    """Return the two largest genres, one of about 1 in 100 movies, and the smallest; each with the number of its movies."""
    rows = connection.execute(
        "SELECT name, movies FROM facet WHERE kind = 'genre' AND movies > 0 ORDER BY movies DESC"
    ).fetchall()
    middle = min(rows, key=lambda row: abs(row[1] - movies / 100))
    return [rows[0], rows[1], middle, rows[-1]]


def _people(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """Return some people: those with the most credits, and others evenly by id."""
    busy = connection.execute(
        "SELECT p.id, p.name FROM credit c JOIN person p ON p.id = c.person_id WHERE c.movie_id % 50 = 0 "
        "GROUP BY p.id ORDER BY count(*) DESC, p.id LIMIT 5"
    ).fetchall()
    (most,) = connection.execute("SELECT max(id) FROM person").fetchone()
    marks = ", ".join(str(most * step // 20) for step in range(1, 20))
    return busy + connection.execute(f"SELECT id, name FROM person WHERE id IN ({marks})").fetchall()


def _titles(connection: sqlite3.Connection) -> list[str]:
    """Return some titles as people type them."""
    (most,) = connection.execute("SELECT max(id) FROM movie").fetchone()
    marks = ", ".join(str(most * step // 20) for step in range(1, 20))
    rows = connection.execute(f"SELECT title FROM movie WHERE id IN ({marks})")
    return [folded for (title,) in rows if len(folded := fold(title)) >= 5]

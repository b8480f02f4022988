"""Folding finds; it never decides that two are one. And whoever writes a title as it is finds it first, in every script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from matinee.domain.text import FOLDING
from matinee.errors import Conflict, InvalidBody
from matinee.storage import refolding, search_index
from matinee.storage.models import Facet, LogHead, Movie, Person
from matinee.write import names, upkeep
from tests.client import Client
from tests.integration.test_imports import run
from tests.integration.test_search import fill, found

VOWEL_SIGNS = """{"title":"शोले","year":1975,"directors":["Ramesh Sippy"]}
{"title":"शाला","year":1975,"directors":["Ramesh Sippy"],"overview":"another film"}
{"title":"ハハ","year":1999}
{"title":"パパ","year":1999}
{"title":"Amélie","year":2001}
{"title":"Amelie","year":2001}
{"title":"Spider-Man","year":2002}
{"title":"Spider Man","year":2002}
{"title":"!!!","year":2002}
{"title":"???","year":2002}
""".encode()


def test_titles_that_fold_alike_are_two_movies_also_the_second_time(catalogue_home: Path) -> None:
    first, second = (run(VOWEL_SIGNS, catalogue_home, batch_rows=rows) for rows in (50, 1))

    assert (first.added, second.unchanged, Movie.objects.count()) == (10, 10, 10)


def test_titles_of_one_identity_are_one_movie(catalogue_home: Path) -> None:
    run('{"title":"Amélie","year":2001,"directors":["Jean-Pierre Jeunet"]}'.encode(), catalogue_home)

    report = run('{"title":"AME\u0301LIE","year":2001,"directors":["JEAN-PIERRE JEUNET"]}'.encode(), catalogue_home)

    assert (report.changed, list(Movie.objects.values_list("title", flat=True))) == (1, ["AMÉLIE"])


def test_genres_and_companies_are_one_by_case_and_composition_only(catalogue_home: Path) -> None:
    run(
        '{"title":"A","genres":["Comédie","COME\u0301DIE","Comedie"],"production":["カス商事","ガス商事"]}'.encode(),
        catalogue_home,
    )

    kept = sorted(Facet.objects.values_list("kind", "name", "movies"))
    assert kept == [("company", "カス商事", 1), ("company", "ガス商事", 1), ("genre", "Comedie", 1), ("genre", "Comédie", 1)]


def test_the_admin_may_add_a_genre_that_folds_as_another_and_not_the_same_one(catalogue_home: Path) -> None:
    first = names.create_genre("Film-Noir", "tests")
    other = names.create_genre("Film Noir", "tests")

    for taken in ("FILM-NOIR", " film-noir "):
        with pytest.raises(Conflict, match="Film-Noir"):
            names.create_genre(taken, "tests")
    with pytest.raises(Conflict, match="Film Noir"):
        names.rename_genre(first, "film noir", 1, "tests")
    names.rename_genre(other, "FILM NOIR", 1, "tests")
    assert sorted(Facet.objects.values_list("name", flat=True)) == ["FILM NOIR", "Film-Noir"]


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u3164", "\u0301", "x" * 301, "a\nb"])
def test_a_name_that_shows_nothing_is_refused(catalogue_home: Path, name: str) -> None:
    for add in (names.create_person, names.create_genre):
        with pytest.raises(InvalidBody):
            add(name, "tests")

    assert (Person.objects.count(), Facet.objects.count()) == (0, 0)


@pytest.mark.parametrize("title", ["\u200b", "\u3164", "\u2800", "\u0301", "\u202e"])
def test_an_invisible_title_is_a_422(client: Client, title: str) -> None:
    created = client.write("POST", "/v1/movies", {"title": title})

    assert (created.status_code, created.json()["errors"][0]["pointer"]) == (422, "/title")


def test_a_filter_means_the_genre_of_that_name_and_else_those_that_fold_alike(client: Client) -> None:
    for genre in ("Sci-Fi", "Sci Fi", "Comédie"):
        fill({"title": f"{genre} film", "genres": [genre]})

    asked = ("SCI-FI", "sci fi", "scí fi", "comedie", "COME\u0301DIE", "sci-fi|comedie", "none")
    titles = [sorted(client.titles(f"/v1/movies?genre={quote(genre)}")) for genre in asked]

    both = ["Sci Fi film", "Sci-Fi film"]
    assert titles == [
        ["Sci-Fi film"], ["Sci Fi film"], both, ["Comédie film"], ["Comédie film"], ["Comédie film", "Sci-Fi film"], [],
    ]  # fmt: skip


# Each pair folds alike; the less popular one is written second.
ALIKE = [
    ("Amélie", "Amelie"), ("Ёлка", "Елка"), ("Змей", "Змеи"), ("Ορέστης", "Ορεστης"), ("مُحَمَّد", "محمد"), ("שָׁלוֹם", "שלום"),
    ("Spider-Man", "Spider Man"), ("Alien³", "Alien 3"), ("8½", "8 1/2"), ("ＡＬＩＥＮ", "Alien"), ("Łódź", "Lodz"),
]  # fmt: skip


@pytest.mark.parametrize(("popular", "other"), ALIKE)
def test_the_title_as_it_is_written_comes_first(client: Client, popular: str, other: str) -> None:
    fill(
        {"title": popular, "popularity": 90}, {"title": other, "popularity": 10}, {"title": f"{other} again", "popularity": 99}
    )

    for typed, best in ((popular, popular), (other, other), (other.upper(), other)):
        assert found(client, typed)[0] == best
        assert client.get(f"/v1/suggest?q={quote(typed)}").json()["items"][0]["text"] == best


APART = [("शोले", "शाला"), ("ハハ", "パパ"), ("ก่อน", "ก้อน"), ("சாமி", "சேமி"), ("기생충", "기생중")]


@pytest.mark.parametrize(("one", "other"), APART)
def test_vowel_signs_and_voicing_marks_tell_titles_apart(client: Client, one: str, other: str) -> None:
    fill(one, other)

    assert (found(client, one), found(client, other)) == ([one], [other])


TYPED = {
    "8 1/2": "8½", "8½": "8½", "9 1/2 weeks": "9½ Weeks", "33 1/3": "Naked Gun 33⅓", "alien 3": "Alien³", "alien3": "Alien³",
    "神隠し": "千と千尋の神隠し", "千尋": "千と千尋の神隠し", "千": "千と千尋の神隠し", "ウォーズ": "スター・ウォーズ",
    "スターウォーズ": "スター・ウォーズ", "ｽﾀｰ": "スター・ウォーズ", "생충": "기생충", "기새": "기생충", "รัก": "ที่รัก",
    "$": "$", "...": "...", "!": "!!!", "π": "π", "😀": "😀", "ali\u200cen": "Ali\u200den", "alien\u2060": "Ali\u200den",
    "宮崎": "Totoro", "崎駿": "Totoro", "ﬁlm": "Film",
}  # fmt: skip


def test_what_people_type_is_found(client: Client) -> None:
    fill(*dict.fromkeys(title for title in TYPED.values() if title != "Totoro"), {"title": "Totoro", "directors": ["宮崎駿"]})

    missed = {typed: found(client, typed) for typed, title in TYPED.items() if title not in found(client, typed)}

    assert missed == {}
    assert found(client, "尋千") == []  # neighbours in another order
    assert [item["text"] for item in client.get("/v1/suggest?q=" + quote("崎駿")).json()["items"]] == ["宮崎駿"]


def folded_state() -> list[Any]:
    """Return everything in the catalogue that folding made."""
    from django.db import connection

    columns = "movie_id, words::text" if connection.vendor == "postgresql" else "rowid, title, parts, people, marks"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM movie_search ORDER BY 1")
        index = cursor.fetchall()
    return [
        index,
        list(Movie.objects.order_by("id").values_list("title_fold", flat=True)),
        list(Person.objects.order_by("id").values_list("name_fold", flat=True)),
        list(Facet.objects.order_by("id").values_list("name_fold", flat=True)),
    ]


def test_folds_of_other_rules_are_rebuilt_in_batches(catalogue_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matinee.storage.models import MovieDocument

    run(
        VOWEL_SIGNS + '{"title":"A","genres":["Comédie"],"directors":["宮崎駿"],"production":["ガス"]}'.encode(), catalogue_home
    )
    made = folded_state()
    for model, column in ((Movie, "title_fold"), (Person, "name_fold"), (Facet, "name_fold"), (MovieDocument, "title_key")):
        model.objects.update(**{column: "old"})
    search_index.remove(list(MovieDocument.objects.values_list("search_rank", flat=True)[:5]))
    LogHead.objects.update(folding=FOLDING - 1)
    monkeypatch.setattr(refolding, "BATCH_ROWS", 3)

    assert refolding.is_due()
    refolding.run()

    assert folded_state() == made
    assert sorted(MovieDocument.objects.values_list("title_key", flat=True)) == sorted(made[1])
    assert not refolding.is_due()


def test_a_catalogue_of_other_rules_is_not_served(catalogue_home: Path) -> None:
    from matinee import config as configuration
    from matinee.errors import DatabaseError
    from matinee.storage import schema

    LogHead.objects.update(folding=FOLDING - 1)

    with pytest.raises(DatabaseError, match="Run `matinee migrate`"):
        schema.check(configuration.load(home=catalogue_home))

    schema.migrate()
    schema.check(configuration.load(home=catalogue_home))


@pytest.fixture
def older(catalogue_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Return what imports as a server of an older version does: with other folds, and without a word of it in the head."""
    from matinee.domain import ranking, tsquery
    from matinee.storage import writer

    def write(lines: bytes) -> None:
        folded = LogHead.objects.get().folded_position
        with monkeypatch.context() as patched:
            for module in (ranking, writer.ranking):
                patched.setattr(module, "title_key", lambda title: f"old {title}")
            patched.setattr(search_index, "fold", lambda text: f"old {text}")
            patched.setattr(search_index, "lexemes", lambda _, *rest: tsquery.lexemes(("old", ""), *rest))
            run(lines, catalogue_home)
        LogHead.objects.update(folded_position=folded)

    return write


def redone_by_migrate() -> None:
    refolding.run()


def redone_by_a_server() -> None:
    while upkeep.refold():
        pass


@pytest.mark.parametrize("redo", [redone_by_migrate, redone_by_a_server])
def test_what_an_older_server_writes_after_the_rebuild_is_folded_again(
    catalogue_home: Path, older: Callable[[bytes], None], redo: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refolding, "BATCH_ROWS", 3)
    monkeypatch.setattr(upkeep, "_CHANGES", 3)
    older(VOWEL_SIGNS)
    wrong, position = folded_state(), LogHead.objects.get().position
    names.create_person("Somebody", "a server of this version, meanwhile")
    missing = refolding.behind()

    redo()

    fresh = folded_state()
    refolding_all()
    assert (missing, refolding.behind()) == (position + 1, 0)
    assert [before != after for before, after in zip(wrong[:2], fresh[:2], strict=True)] == [True, True]
    assert fresh == folded_state()


def refolding_all() -> None:
    """Rebuild every fold."""
    LogHead.objects.update(folding=FOLDING - 1)
    refolding.run()


def test_a_server_of_these_rules_leaves_nothing_to_fold_again(client: Client) -> None:
    fill("Alien", "Amélie")
    client.write("POST", "/v1/movies", {"title": "Ночь", "genres": ["Drama"]})

    assert (refolding.behind(), upkeep.refold()) == (0, False)


def test_a_server_of_older_rules_does_not_say_that_it_folded(catalogue_home: Path) -> None:
    LogHead.objects.update(folding=FOLDING + 1)

    names.create_person("Ridley Scott", "tests")

    assert refolding.behind() == 1


def test_doctor_says_what_an_older_server_folded(catalogue_home: Path, older: Callable[[bytes], None]) -> None:
    from matinee import config as configuration
    from matinee.cli import health
    from matinee.errors import OperatorError

    config = configuration.load(home=catalogue_home)
    assert health._search(config) == "0 movies indexed"
    older(b'{"title":"Alien"}')

    with pytest.raises(OperatorError, match="1 changes were folded by a server of an older version"):
        health._search(config)

"""The page of a movie: what is saved goes through the write path, what is refused says why, and nothing typed is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from matinee.domain.movie import parse_content
from matinee.storage.models import Change, Credit, Movie, MovieDocument, Person, Tombstone
from matinee.write import movies, names
from tests.integration.admin_client import MOVIES, Admin, Form, admin, locked, with_credit, with_typed

FULL = {
    "title": "Alien",
    "original_title": "Alien: Директорская версия",
    "year": 1979,
    "released": "1979-05-25",
    "runtime_min": 117,
    "genres": ["Sci-Fi", "Horror"],
    "directors": [{"name": "Ridley Scott"}],
    "writers": [{"name": "Dan O'Bannon"}, {"name": "Ronald Shusett"}],
    "cast": [
        {"name": "Sigourney Weaver", "character": "Ripley", "order": 0},
        {"name": "Ian Holm", "character": "Ash", "order": 3},
        {"name": "Ian Holm", "character": "Ash's head", "order": 9},
    ],
    "languages": ["English"],
    "countries": ["Congo, Democratic Republic of the", "United States"],
    "companies": ["Brandywine, Inc.", "20th Century <Fox> & Co."],
    "overview": 'First line.\n\n  Second "line" & <more>.',
    "tagline": "In space no one can hear you scream.",
    "certificate": "R",
    "rating": {"average": 8.123456789, "votes": 900_001},
    "critics": {"score": 96, "average": 9.1, "reviews": 123, "metascore": 89},
    "popularity": 95.70000000000002,
    "box_office_usd": 203_630_630,
    "awards": {"oscars": 1},
    "poster": "https://example.org/alien.jpg?size=1&x=2",
    "ids": {"imdb": "tt0078748", "tmdb": "348", "wikidata": "Q103569", "movielens": "1214", "fynd": "alien-ridley-scott"},
}


@pytest.fixture
def ann(catalogue_home: Path) -> Admin:
    return admin("ann")


def add(**content: Any) -> int:
    written = movies.create(parse_content({"title": "Alien", **content}), "tests")
    assert written.document is not None
    return written.document.id


def page_of(movie_id: int) -> str:
    return f"{MOVIES}{movie_id}/change/"


def document(movie_id: int) -> dict[str, Any]:
    return dict(msgspec.json.decode(MovieDocument.objects.get(pk=movie_id).body))


def what_is_typed(form: Form) -> Form:
    """Return the fields that hold something, without the token that differs each time."""
    return {name: values for name, values in form.items() if any(values) and name != "csrfmiddlewaretoken"}


def names_in(movie_id: int, part: str) -> list[str]:
    return [person["name"] for person in document(movie_id)[part]]


def newest_change() -> dict[str, Any]:
    return Change.objects.values("subject", "subject_id", "kind", "version", "actor", "detail").latest("position")


def test_saving_a_form_as_it_was_makes_no_new_version(ann: Admin) -> None:
    movie = add(**FULL)
    before = document(movie)

    answer = ann.change(page_of(movie), "movie_form")

    assert "there was nothing to save" in answer.words
    assert document(movie) == before
    assert Change.objects.filter(subject="movie").count() == 1


def test_a_change_is_one_version_one_position_and_one_row_of_the_log(ann: Admin) -> None:
    movie = add(**FULL)

    answer = ann.change(page_of(movie), "movie_form", title="Alien³", year="1992")

    assert "was changed successfully" in answer.words
    assert newest_change() == {
        "subject": "movie",
        "subject_id": movie,
        "kind": "updated",
        "version": 2,
        "actor": "admin:ann",
        "detail": {"fields": {"title": ["Alien", "Alien³"], "year": [1979, 1992]}},
    }
    assert Movie.objects.values_list("title", "version", "position").get(pk=movie) == ("Alien³", 2, 2)


def test_what_the_form_does_not_show_is_kept(ann: Admin) -> None:
    movie = add(**FULL)

    ann.change(page_of(movie), "movie_form", imdb="", tmdb="349")

    assert document(movie)["ids"] == {**FULL["ids"], "imdb": None, "tmdb": "349"}


def test_a_movie_is_added_with_its_credits_in_one_commit(ann: Admin) -> None:
    known = names.create_person("Ridley Scott", "tests")
    names.create_genre("Horror", "tests")
    form = with_typed(ann.get(f"{MOVIES}add/").form("movie_form"), title="Alien", genres=["Horror"], companies="A\r\nB, Inc.")
    form = with_credit(form, role="director", person=str(known))
    form = with_credit(form, role="cast", person="+Sigourney Weaver", character="Ripley", billing="0")

    answer = ann.post(f"{MOVIES}add/", form)

    made = document(1)
    weaver = Person.objects.get(name="Sigourney Weaver").pk
    assert "was added successfully" in answer.words
    assert (made["genres"], made["companies"]) == (["Horror"], ["A", "B, Inc."])
    assert made["directors"] == [{"id": known, "name": "Ridley Scott"}]
    assert made["cast"] == [{"id": weaver, "name": "Sigourney Weaver", "character": "Ripley", "order": 0}]
    assert newest_change() | {"detail": None} == {
        "subject": "movie", "subject_id": 1, "kind": "created", "version": 1, "actor": "admin:ann", "detail": None,
    }  # fmt: skip


def test_credits_are_removed_reordered_and_replaced(ann: Admin) -> None:
    movie = add(cast=[{"name": name} for name in ("Ann", "Bob", "Cid")], writers=[{"name": "Ann"}])
    form = ann.get(page_of(movie)).form("movie_form")
    assert form["credit_set-0-role"] == ["writer"]
    typed = {"0-person": "+Dan", "1-DELETE": "on", "2-place": "9", "3-place": "1"}

    ann.post(page_of(movie), with_typed(form, **{f"credit_set-{name}": value for name, value in typed.items()}))

    assert names_in(movie, "cast") == ["Cid", "Bob"]
    assert names_in(movie, "writers") == ["Dan"]


def test_a_row_that_was_added_and_removed_again_does_not_matter(ann: Admin) -> None:
    movie = add(cast=[{"name": "Ann"}])
    form = with_credit(ann.get(page_of(movie)).form("movie_form"), role="cast", person="", character="Nobody", DELETE="on")

    answer = ann.post(page_of(movie), form)

    assert "there was nothing to save" in answer.words


def test_faults_stand_at_their_fields_and_nothing_is_written(ann: Admin) -> None:
    movie = add(**FULL)
    typed = {
        "year": "12",
        "imdb": "nm1",
        "poster": "ftp://x",
        "rating_average": "11",
        "title": "T" * 501,
        "certificate": "R" * 41,
    }

    answer = ann.change(page_of(movie), "movie_form", **typed)

    assert answer.status == 200
    for words in (
        "It must be 1870 or more.",
        "&#x27;nm1&#x27; is not an id of imdb",
        "It must be an address that begins with http:// or https://",
        "It must be 10.0 or less.",
        "at most 500 characters",
        "at most 40 characters",
    ):
        assert words in answer.words
    assert document(movie)["version"] == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"role": "director", "person": "+Ann", "character": "Herself"}, "Only the cast has this."),
        ({"role": "cast", "person": "999"}, "There is no such person any more"),
        ({"role": "cast", "person": "Ann"}, "Choose a person from the list."),
        ({"role": "cast", "person": "", "character": "Ash"}, "This field is required."),
        ({"role": "cast", "person": "+Ann", "character": "C" * 301}, "It may have 300 characters at most."),
        ({"role": "cast", "person": "+Ann", "billing": "-1"}, "It must be 0 or more."),
    ],
)
def test_a_fault_in_a_credit_is_shown_at_its_row(ann: Admin, row: dict[str, str], words: str) -> None:
    movie = add()
    form = ann.get(page_of(movie)).form("movie_form")

    answer = ann.post(page_of(movie), with_credit(form, **row))

    assert words in answer.words
    assert document(movie)["version"] == 1


def test_an_id_that_another_movie_has_is_told_at_the_field(ann: Admin) -> None:
    other, movie = add(ids={"imdb": "tt0078748"}), add(title="Aliens")

    answer = ann.change(page_of(movie), "movie_form", imdb="tt0078748")

    assert f"Movie {other} has this id; change that one, or merge the two." in answer.words
    assert document(movie)["ids"]["imdb"] is None


def test_an_id_of_a_deleted_movie_is_free(ann: Admin) -> None:
    gone, movie = add(ids={"imdb": "tt0078748"}), add(title="Aliens")
    movies.delete(gone, "tests", None)

    ann.change(page_of(movie), "movie_form", imdb="tt0078748")

    assert document(movie)["ids"]["imdb"] == "tt0078748"


def test_a_refusal_of_the_write_path_brings_the_form_back(ann: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ids={"imdb": "tt0078748"})
    movie = add(title="Aliens")
    monkeypatch.setattr("matinee.http.admin.movie_form.live_owners", lambda ids: {})  # as if it came a moment later

    answer = ann.change(page_of(movie), "movie_form", imdb="tt0078748", tagline="Kept text")

    assert "Imdb:tt0078748 is movie 1 already" in answer.words
    assert answer.form("movie_form")["tagline"] == ["Kept text"]
    assert document(movie)["version"] == 1


def test_a_stale_form_is_refused_with_who_and_when_and_keeps_what_was_typed(ann: Admin, catalogue_home: Path) -> None:
    movie = add(**FULL)
    bob = admin("bob")
    form = ann.get(page_of(movie)).form("movie_form")
    bob.change(page_of(movie), "movie_form", tagline="Bob's")
    when = Change.objects.latest("position").at

    typed = with_credit(with_typed(form, tagline="Ann's"), role="cast", person="+Zoe", character="Jones")
    answer = ann.post(page_of(movie), typed)
    again = ann.post(page_of(movie), answer.form("movie_form"))

    assert f"admin:bob changed it at {when:%Y-%m-%d %H:%M:%S} UTC" in answer.words
    assert f'href="/admin/catalogue/movie/{movie}/change/" target="_blank"' in answer.text
    assert what_is_typed(answer.form("movie_form")) == what_is_typed(typed)
    assert "admin:bob changed it" in again.words
    assert (document(movie)["tagline"], document(movie)["version"]) == ("Bob's", 2)


def test_a_form_without_a_version_is_refused_too(ann: Admin) -> None:
    movie = add()

    answer = ann.change(page_of(movie), "movie_form", title="Aliens", seen="")

    assert "is not as it was when you opened this form" in answer.words
    assert document(movie)["title"] == "Alien"


def test_who_deleted_a_movie_is_told_to_whoever_had_it_open(ann: Admin) -> None:
    movie = add()
    form = ann.get(page_of(movie)).form("movie_form")
    movies.delete(movie, "admin:bob", None)

    answer = ann.post(page_of(movie), form)

    assert f"There is no movie {movie} any more: admin:bob, deleted at" in answer.words


def test_a_busy_leader_gives_the_form_back_with_a_503(ann: Admin, catalogue_home: Path) -> None:
    movie = add()
    form = with_typed(ann.get(page_of(movie)).form("movie_form"), tagline="Kept text")

    with locked(catalogue_home):
        answer = ann.post(page_of(movie), form)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "The catalogue cannot be written to right now" in answer.words
    assert answer.form("movie_form")["tagline"] == ["Kept text"]
    assert "was changed successfully" in ann.post(page_of(movie), answer.form("movie_form")).words


def test_a_busy_leader_is_told_when_an_action_meets_it(ann: Admin, catalogue_home: Path) -> None:
    movie = add()
    page = ann.get(f"{MOVIES}{movie}/delete/")

    with locked(catalogue_home):
        answer = ann.post(f"{MOVIES}{movie}/delete/", {"post": ["yes"]})
        many = ann.act(MOVIES, "delete_selected", [movie], post="yes")

    assert page.status == 200
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "Nothing of this request was saved" in answer.words
    assert "was not deleted: The catalogue cannot be written to right now" in many.words
    assert document(movie)["version"] == 1


def test_a_deletion_goes_through_the_write_path(ann: Admin) -> None:
    movie = add(**FULL)

    confirmation = ann.get(f"{MOVIES}{movie}/delete/")
    ann.post(f"{MOVIES}{movie}/delete/", {"post": ["yes"]})

    assert "Are you sure" in confirmation.words
    assert [query for query in confirmation.queries if "credit" in query] == []
    assert (newest_change()["kind"], newest_change()["actor"]) == ("deleted", "admin:ann")
    assert Tombstone.objects.get(pk=movie).merged_into is None
    assert not Movie.objects.exists()
    assert not Credit.objects.exists()


def test_selected_movies_are_deleted_after_a_question(ann: Admin) -> None:
    ids = [add(title=title) for title in ("A", "B", "C")]

    question = ann.act(MOVIES, "delete_selected", ids[:2])
    answer = ann.act(MOVIES, "delete_selected", ids[:2], post="yes")

    assert "Are you sure you want to delete the selected movies?" in question.words
    assert "2 movies were deleted." in answer.words
    assert list(Movie.objects.values_list("pk", flat=True)) == ids[2:]
    assert list(Change.objects.filter(kind="deleted").values_list("subject_id", "actor")) == [
        (2, "admin:ann"),
        (1, "admin:ann"),
    ]


def test_selected_movies_are_merged_into_the_oldest_after_a_question(ann: Admin) -> None:
    ids = [add(title=title) for title in ("A", "B", "C")]

    question = ann.act(MOVIES, "merge_selected", ids)
    answer = ann.act(MOVIES, "merge_selected", ids, post="yes")

    assert "will lead to movie 1, “A”" in question.words
    assert "2 movies were merged into 1, “A”." in answer.words
    assert dict(Tombstone.objects.values_list("movie_id", "merged_into")) == {2: 1, 3: 1}


def test_one_movie_is_not_merged_with_nothing(ann: Admin) -> None:
    movie = add()

    answer = ann.act(MOVIES, "merge_selected", [movie], post="yes")

    assert "Tick two movies or more to merge them." in answer.words
    assert Movie.objects.filter(pk=movie).exists()


def test_an_action_never_runs_on_rows_that_are_not_ticked(ann: Admin) -> None:
    ids = [add(title=title) for title in ("A", "B", "C")]

    answer = ann.act(MOVIES, "delete_selected", ids[:1], post="yes", select_across="1")

    assert "Tick the rows that you mean" in answer.words
    assert Movie.objects.count() == 3


def test_whoever_may_only_look_sees_the_document(catalogue_home: Path) -> None:
    from django.contrib.auth.models import Permission, User

    movie = add(**FULL)
    viewer = admin("viv", superuser=False)
    User.objects.get(username="viv").user_permissions.add(Permission.objects.get(codename="view_movie"))

    page = viewer.get(page_of(movie))
    refused = viewer.post(page_of(movie), {"title": ["Mine"]})

    assert "Sigourney Weaver" in page.words
    assert 'name="title"' not in page.text
    assert refused.status == 403


def test_text_of_the_catalogue_is_never_markup(ann: Admin) -> None:
    evil = "<script>alert(1)</script>"
    movie = add(title=evil, tagline=evil, cast=[{"name": evil, "character": evil}], genres=[evil], companies=[evil])

    pages = [
        ann.get(MOVIES),
        ann.get(page_of(movie)),
        ann.get(f"{MOVIES}{movie}/delete/"),
        ann.change(page_of(movie), "movie_form", tagline=evil + "2"),
        ann.change(page_of(movie), "movie_form"),
        ann.get(f"/admin/catalogue/change/{Change.objects.latest('position').pk}/change/"),
        ann.act(MOVIES, "delete_selected", [movie], post="yes"),
    ]

    assert [page.status for page in pages] == [200] * len(pages)
    assert [page.text.count("<script>alert") for page in pages] == [0] * len(pages)

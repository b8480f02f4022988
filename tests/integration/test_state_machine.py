"""Any order of writes leaves what a plain dictionary says: hypothesis writes stories, every step is compared with the model."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from matinee import config as configuration
from matinee.domain.text import identity
from tests.client import Client
from tests.conftest import catalogue_in

SETTINGS = settings(
    max_examples=25,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclasses.dataclass(frozen=True)
class Film:
    """What the model states about a movie."""

    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()
    directors: tuple[str, ...] = ()
    imdb: str | None = None

    def body(self) -> dict[str, Any]:
        """Return it as a request states it."""
        directors = [{"name": name} for name in self.directors]
        return {"title": self.title, "year": self.year, "genres": list(self.genres), "directors": directors,
                "ids": {"imdb": self.imdb}}  # fmt: skip


IMDB = st.sampled_from([None, "tt0000001", "tt0000002", "tt0000003"])
GENRES = st.lists(st.sampled_from(["Drama", "drama", "Sci-Fi", "sci fi", "Horror"]), max_size=3).map(tuple)
YEARS = st.sampled_from([None, 1979, 1995])
FILMS = st.builds(
    Film,
    title=st.sampled_from(["Alien", "Heat", "Ran"]),
    year=YEARS,
    genres=GENRES,
    directors=st.lists(st.sampled_from(["Ann", "Bob"]), max_size=2, unique=True).map(tuple),
    imdb=IMDB,
)
WHICH = st.integers(0, 20)


@dataclasses.dataclass
class Live:
    """A live movie of the model."""

    film: Film
    version: int
    etag: str


class Model:
    """The catalogue as a plain dictionary."""

    def __init__(self) -> None:
        self.live: dict[int, Live] = {}
        self.gone: dict[int, int | None] = {}  # merged into, None when deleted
        self.owners: dict[str, int] = {}  # imdb's id -> a movie, or what is left of one
        self.genres: dict[str, str] = {}  # identity of a name -> as it was written first
        self.last_id = 0

    def is_taken(self, imdb: str | None, own_id: int) -> bool:
        """Return whether another live movie has this id."""
        return imdb is not None and self.owners.get(imdb, own_id) != own_id and self.owners[imdb] in self.live

    def normal(self, film: Film) -> Film:
        """Return a film as the catalogue writes it: each genre once, in its first spelling."""
        names = [self.genres.setdefault(identity(name), name) for name in film.genres]
        return dataclasses.replace(film, genres=tuple(dict.fromkeys(names)))

    def put(self, movie_id: int, film: Film, etag: str) -> None:
        """Give a movie its content; a movie that is as it was keeps its version."""
        before = self.live.get(movie_id)
        film = self.normal(film)
        if before is not None and before.film == film:
            return
        self.owners = {imdb: owner for imdb, owner in self.owners.items() if owner != movie_id}
        if film.imdb:
            self.owners[film.imdb] = movie_id
        self.live[movie_id] = Live(film, before.version + 1 if before else 1, etag)

    def remove(self, movie_id: int, into: int | None) -> None:
        """Delete a movie, or merge it; whoever was merged into it goes on to the same end."""
        del self.live[movie_id]
        self.gone = {key: into if end == movie_id else end for key, end in self.gone.items()} | {movie_id: into}

    def genre_counts(self) -> dict[str, int]:
        """Return the number of movies of each genre that has some."""
        names = [name for movie in self.live.values() for name in movie.film.genres]
        return {name: names.count(name) for name in names}


class Stories(RuleBasedStateMachine):
    """One catalogue, its model, and the rules that both must follow."""

    empty: Path

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="matinee-story-"))
        self.story = ExitStack()
        self.story.enter_context(catalogue_in(self.home, self.empty))
        self.client = Client(configuration.load(home=self.home))
        assert self.client.key
        self.model = Model()
        self.position = 1  # the making of the key
        self.answered: dict[str, tuple[Film, httpx.Response]] = {}

    def teardown(self) -> None:
        self.client.__exit__(None, None, None)
        self.story.close()
        shutil.rmtree(self.home)

    def one(self, which: int) -> int:
        """Return one of the live movies."""
        return sorted(self.model.live)[which % len(self.model.live)]

    def has_movies(self) -> bool:
        """Return whether there is anything to change."""
        return bool(self.model.live)

    def moved_on(self, response: httpx.Response, steps: int) -> None:
        """Check that a write took this many positions, and no more."""
        self.position += steps
        assert int(response.headers["matinee-position"]) == self.position

    @rule(film=FILMS, key=st.none() | st.sampled_from(["a", "b", "c", "d"]))
    def create(self, film: Film, key: str | None) -> None:
        headers = {"idempotency_key": key} if key else {}
        response = self.client.write("POST", "/v1/movies", film.body(), **headers)

        if key in self.answered:
            self.replayed(film, response, self.answered[key])
        elif self.model.is_taken(film.imdb, 0):
            assert response.status_code == 409
        else:
            assert response.status_code == 201
            self.moved_on(response, 1)
            self.model.last_id += 1
            assert response.json()["id"] == self.model.last_id
            self.model.put(self.model.last_id, film, response.headers["etag"])
            if key:
                self.answered[key] = (film, response)

    def replayed(self, film: Film, response: httpx.Response, answered: tuple[Film, httpx.Response]) -> None:
        """Check the answer to a key that was used before."""
        before, first = answered
        if film != before:
            assert response.status_code == 422
            return
        assert (response.status_code, response.content) == (201, first.content)
        assert response.headers["idempotent-replayed"] == "true"

    @precondition(has_movies)
    @rule(which=WHICH, film=FILMS, any_version=st.booleans())
    def replace(self, which: int, film: Film, any_version: bool) -> None:
        movie_id = self.one(which)
        etag = "*" if any_version else self.model.live[movie_id].etag

        self.changed(movie_id, film, self.client.write("PUT", f"/v1/movies/{movie_id}", film.body(), if_match=etag))

    @precondition(has_movies)
    @rule(which=WHICH, year=YEARS, genres=st.none() | GENRES, imdb=IMDB)
    def patch(self, which: int, year: int | None, genres: tuple[str, ...] | None, imdb: str | None) -> None:
        movie_id = self.one(which)
        body = {"year": year, "genres": genres and list(genres), "ids": {"imdb": imdb}}

        response = self.client.write("PATCH", f"/v1/movies/{movie_id}", body, if_match=self.model.live[movie_id].etag)

        film = dataclasses.replace(self.model.live[movie_id].film, year=year, genres=genres or (), imdb=imdb)
        self.changed(movie_id, film, response)

    def changed(self, movie_id: int, film: Film, response: httpx.Response) -> None:
        """Check the answer to a change and let the model follow it."""
        if self.model.is_taken(film.imdb, movie_id):
            assert response.status_code == 409
            return
        version = self.model.live[movie_id].version
        self.model.put(movie_id, film, response.headers["etag"])
        self.moved_on(response, self.model.live[movie_id].version - version)
        assert response.status_code == 200

    @precondition(has_movies)
    @rule(which=WHICH, verb=st.sampled_from(["PUT", "PATCH", "DELETE"]))
    def write_from_an_old_version(self, which: int, verb: str) -> None:
        movie_id = self.one(which)
        body = None if verb == "DELETE" else {"title": "Too late"}

        response = self.client.write(verb, f"/v1/movies/{movie_id}", body, if_match='"0.0"')

        live = self.model.live[movie_id]
        assert (response.status_code, response.json()["current_version"]) == (412, live.version)
        assert response.headers["etag"] == live.etag

    @precondition(has_movies)
    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        movie_id = self.one(which)

        response = self.client.write("DELETE", f"/v1/movies/{movie_id}", if_match=self.model.live[movie_id].etag)

        assert response.status_code == 204
        self.moved_on(response, 1)
        self.model.remove(movie_id, None)

    @precondition(has_movies)
    @rule(which=WHICH, into=WHICH)
    def merge(self, which: int, into: int) -> None:
        source, target = self.one(which), self.one(into)

        response = self.client.write("POST", f"/v1/movies/{source}/merge", {"into": target})

        if source == target:
            assert response.status_code == 409
            return
        film, source_imdb = self.model.live[target].film, self.model.live[source].film.imdb
        self.model.remove(source, target)
        before = self.model.live[target].version
        self.model.put(target, dataclasses.replace(film, imdb=film.imdb or source_imdb), response.headers["etag"])
        assert response.status_code == 200
        self.moved_on(response, 1 + self.model.live[target].version - before)

    @precondition(lambda self: self.model.gone)
    @rule(which=WHICH, verb=st.sampled_from(["PUT", "PATCH", "DELETE"]))
    def write_to_what_is_gone(self, which: int, verb: str) -> None:
        movie_id = sorted(self.model.gone)[which % len(self.model.gone)]
        body = None if verb == "DELETE" else {"title": "Again"}

        assert self.client.write(verb, f"/v1/movies/{movie_id}", body, if_match="*").status_code == 410

    @invariant()
    def every_movie_is_as_the_model_says(self) -> None:
        for movie_id, live in self.model.live.items():
            response = self.client.get(f"/v1/movies/{movie_id}")
            document = response.json()
            film = Film(document["title"], document["year"], tuple(document["genres"]),
                        tuple(person["name"] for person in document["directors"]), document["ids"]["imdb"])  # fmt: skip
            assert (film, document["version"], response.headers["etag"]) == (live.film, live.version, live.etag)

    @invariant()
    def whatever_is_gone_says_where_it_went(self) -> None:
        for movie_id, into in self.model.gone.items():
            self.leads(f"/v1/movies/{movie_id}", movie_id, into)
        for imdb, owner in self.model.owners.items():
            self.leads(f"/v1/movies/imdb:{imdb}", owner, self.model.gone.get(owner))

    def leads(self, path: str, movie_id: int, into: int | None) -> None:
        """Check what an address answers that belongs to a movie or to what is left of one."""
        response = self.client.get(path)
        if movie_id in self.model.live:
            assert response.json()["id"] == movie_id
        elif into is None:
            assert response.status_code == 410
        else:
            assert (response.status_code, response.headers["location"]) == (301, f"http://testserver/v1/movies/{into}")

    @invariant()
    def lists_counts_and_the_log_are_as_the_model_says(self) -> None:
        genres = {item["name"]: item["movies"] for item in self.client.get("/v1/genres").json()["items"]}
        positions = [item["position"] for item in self.client.get("/v1/changes?limit=100").json()["items"]]

        assert self.client.walk("/v1/movies?sort=added&limit=3") == sorted(self.model.live, reverse=True)
        assert genres == self.model.genre_counts()
        assert positions == list(range(2, self.position + 1))


@pytest.mark.usefixtures("catalogue_home")  # which puts Django's connection back afterwards
def test_any_story_of_writes_ends_as_the_model_says(empty_catalogue: Path) -> None:
    Stories.empty = empty_catalogue

    run_state_machine_as_test(Stories, settings=SETTINGS)

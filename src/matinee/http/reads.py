"""GET: a movie, lists, search, suggestions, people, genres, the log of changes.

Each read is a builder: it reads its parameters from the address, asks the catalogue, and returns an answer that is the same for
everybody. public_reads.py has them built for requests of anybody, ahead of all routing; the handlers here document them and
answer the requests that need a reader's key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request, get
from litestar.params import FromPath

from matinee.config import Config
from matinee.domain.ids import MAX_ID, parse_ref
from matinee.domain.query import (
    CHANGES_PARAMETERS,
    LIST_PARAMETERS,
    PERSON_PARAMETERS,
    SEARCH_PARAMETERS,
    SUGGEST_PARAMETERS,
    TRENDING_PARAMETERS,
    ListQuery,
    first,
    group,
    number,
    parse_limit,
    parse_list,
    parse_q,
    parse_search,
    parse_sort,
    parse_window,
)
from matinee.errors import NotFound
from matinee.http.access import catalogue_for
from matinee.http.answers import Answer, body_answer
from matinee.http.operations import MOVIE_ID, PERSON_ID, operation
from matinee.http.parameters import query_pairs
from matinee.http.ready import Ready, personal_answer
from matinee.read.catalogue import Catalogue, Moved

JsonRequest = Request[Any, Any, Any]
Build = Callable[[Any, Catalogue, Config], Awaitable[Ready]]
_MOVIES, _PEOPLE = "/v1/movies/", "/v1/people/"
_MAX_PERSON_DIGITS = 16
TRENDING_KEPT_S = 10.0  # counts come in as often; no change of the catalogue tells of them


async def build_movie(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return a movie's stored bytes, by our id or another catalogue's, or where a merged one went."""
    group(query_pairs(scope), ())
    found = await catalogue.movie(parse_ref(scope["path"][len(_MOVIES) :]))
    return Ready.of_move(config, found) if isinstance(found, Moved) else Ready.of_movie(config, found)


async def build_list(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return a page of movies that match all filters."""
    return Ready.of_page(config, await catalogue.movies(parse_list(query_pairs(scope))))


async def build_search(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return a page of movies whose titles and people have the words, best first."""
    return Ready.of_page(config, await catalogue.search(parse_search(query_pairs(scope))))


async def build_trending(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return the movies that are asked for most, the most asked-for first."""
    values = group(query_pairs(scope), TRENDING_PARAMETERS)
    page = await catalogue.trending(parse_window(values), parse_limit(values))
    return Ready.of_page(config, page, TRENDING_KEPT_S)


async def build_suggestions(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return ten titles or people for a search box."""
    q = parse_q(group(query_pairs(scope), SUGGEST_PARAMETERS))
    return Ready.of_body(config, await catalogue.suggest(q))


async def build_person(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return a person and a page of the movies that they made or played in."""
    require_possible(scope["path"])
    values, person_id = group(query_pairs(scope), PERSON_PARAMETERS), scope["path"][len(_PEOPLE) :]
    query = ListQuery(sort=parse_sort(values), limit=parse_limit(values), cursor=first(values, "cursor"))
    return Ready.of_page(config, await catalogue.person(int(person_id), query), person_id=int(person_id))


async def build_genres(scope: Any, catalogue: Catalogue, config: Config) -> Ready:
    """Return the genres with the number of their movies."""
    group(query_pairs(scope), ())
    return Ready.of_body(config, await catalogue.genres())


Route = tuple[Build, str]
_MOVIE: Route = (build_movie, "/v1/movies/{movie_id}")
_PERSON: Route = (build_person, "/v1/people/{person_id}")
_EXACT: dict[str, Route] = {
    path: (build, path)
    for path, build in (
        ("/v1/movies", build_list),
        ("/v1/search", build_search),
        ("/v1/trending", build_trending),
        ("/v1/suggest", build_suggestions),
        ("/v1/genres", build_genres),
    )
}


def route_of(path: str) -> Route | None:
    """Return the builder of an address and its template; None for other addresses."""
    for prefix, route in ((_MOVIES, _MOVIE), (_PEOPLE, _PERSON)):
        if path.startswith(prefix):
            is_one = len(path) > len(prefix) and path.find("/", len(prefix)) < 0
            return route if is_one else None
    return _EXACT.get(path)


def require_possible(path: str) -> None:
    """Refuse the address of a movie or a person whose id nobody can have, before anything is read or kept for it.

    Raises: InvalidParameter, NotFound.
    """
    if path.startswith(_PEOPLE):
        person_id = path[len(_PEOPLE) :]
        if not (person_id.isascii() and person_id.isdigit() and len(person_id) <= _MAX_PERSON_DIGITS):
            raise NotFound(f"There is no person {person_id[:60]!r}; a person's id is a whole number.")
    elif path.startswith(_MOVIES):
        ref = path[len(_MOVIES) :]
        if parse_ref(ref) == 0:
            raise NotFound(f"There is no movie {ref[:60]}; ids are whole numbers from 1 to {MAX_ID}.")


async def _answer(request: JsonRequest, build: Build) -> Answer:
    """Answer a request that may need a key, from what is read for it alone."""
    runtime, catalogue = await catalogue_for(request)
    try:
        ready = await build(request.scope, catalogue, runtime.config)
    finally:
        scope: Any = request.scope
        scope["matinee.as_of"] = catalogue.as_of  # for the problem, if it is one
    return personal_answer(request.scope, runtime.config, ready, catalogue.as_of)


@get(
    "/v1/movies/{movie_id:str}",
    opt=operation("Get a movie", path=MOVIE_ID, answers={200: "MovieDocument", 301: None, 304: None}, problems=(400, 404, 410)),
)
async def get_movie(request: JsonRequest, movie_id: FromPath[str]) -> Answer:  # noqa: ARG001  documented; the builder reads it
    """Answer a movie's stored bytes, by our id or another catalogue's."""
    return await _answer(request, build_movie)


@get(
    "/v1/movies",
    opt=operation("List movies", query=LIST_PARAMETERS, answers={200: "CardPage", 304: None}, problems=(400,)),
)
async def list_movies(request: JsonRequest) -> Answer:
    """Answer a page of movies that match all filters."""
    return await _answer(request, build_list)


@get(
    "/v1/search",
    opt=operation("Search titles and people", query=SEARCH_PARAMETERS, answers={200: "CardPage", 304: None}, problems=(400,)),
)
async def search(request: JsonRequest) -> Answer:
    """Answer a page of movies whose titles and people have the words, best first."""
    return await _answer(request, build_search)


@get(
    "/v1/trending",
    opt=operation(
        "List the movies that are asked for most",
        query=TRENDING_PARAMETERS,
        answers={200: "CardPage", 304: None},
        problems=(400,),
    ),
)
async def list_trending(request: JsonRequest) -> Answer:
    """Answer the movies that are asked for most, the most asked-for first."""
    return await _answer(request, build_trending)


@get(
    "/v1/suggest",
    opt=operation(
        "Suggest titles and people", query=SUGGEST_PARAMETERS, answers={200: "Suggestions", 304: None}, problems=(400,)
    ),
)
async def suggest(request: JsonRequest) -> Answer:
    """Answer ten titles or people for a search box."""
    return await _answer(request, build_suggestions)


@get(
    "/v1/people/{person_id:str}",
    opt=operation(
        "Get a person with their movies",
        path=PERSON_ID,
        query=PERSON_PARAMETERS,
        answers={200: "PersonPage", 304: None},
        problems=(400, 404),
    ),
)
async def get_person(request: JsonRequest, person_id: FromPath[str]) -> Answer:  # noqa: ARG001  documented; the builder reads it
    """Answer a person and a page of the movies that they made or played in."""
    return await _answer(request, build_person)


@get("/v1/genres", opt=operation("List genres", answers={200: "Genres", 304: None}, problems=(400,)))
async def list_genres(request: JsonRequest) -> Answer:
    """Answer the genres with the number of their movies."""
    return await _answer(request, build_genres)


@get(
    "/v1/changes",
    opt=operation("Follow the log of changes", query=CHANGES_PARAMETERS, answers={200: "Changes", 304: None}, problems=(400,)),
)
async def list_changes(request: JsonRequest) -> Answer:
    """Answer what was changed after a position, in the order of the commits."""
    runtime, catalogue = await catalogue_for(request)
    values = group(query_pairs(request.scope), CHANGES_PARAMETERS)
    body = await catalogue.changes(number(values, "since") or 0, parse_limit(values))
    return body_answer(request.scope, runtime.config, body, catalogue.as_of)


HANDLERS = [get_movie, list_movies, search, list_trending, suggest, get_person, list_genres, list_changes]

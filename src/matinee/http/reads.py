"""GET: a movie, lists, search, suggestions, people, genres, the log of changes.

What happens on GET /v1/movies/{id} stands in movie_route.py.

Each handler reads its parameters, asks the catalogue, and answers the bytes that it gets.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.params import FromPath

from matinee.domain.query import (
    CHANGES_PARAMETERS,
    LIST_PARAMETERS,
    PERSON_PARAMETERS,
    SEARCH_PARAMETERS,
    SUGGEST_PARAMETERS,
    ListQuery,
    first,
    group,
    number,
    parse_limit,
    parse_list,
    parse_q,
    parse_search,
    parse_sort,
)
from matinee.errors import NotFound
from matinee.http.access import catalogue_for
from matinee.http.answers import Answer, body_answer, page_answer
from matinee.http.movie_route import answer_movie
from matinee.http.operations import MOVIE_ID, PERSON_ID, operation
from matinee.http.parameters import query_pairs

JsonRequest = Request[Any, Any, Any]


@get(
    "/v1/movies/{movie_id:str}",
    opt=operation("Get a movie", path=MOVIE_ID, answers={200: "MovieDocument", 301: None, 304: None}, problems=(400, 404, 410)),
)
async def get_movie(request: JsonRequest, movie_id: FromPath[str]) -> Answer:
    """Answer a movie's stored bytes, by our id or another catalogue's."""
    runtime, _ = await catalogue_for(request)
    group(query_pairs(request), ())
    return await answer_movie(request.scope, runtime, movie_id)


@get(
    "/v1/movies",
    opt=operation("List movies", query=LIST_PARAMETERS, answers={200: "CardPage", 304: None}, problems=(400,)),
)
async def list_movies(request: JsonRequest) -> Answer:
    """Answer a page of movies that match all filters."""
    runtime, catalogue = await catalogue_for(request)
    page = await catalogue.movies(parse_list(query_pairs(request)))
    return page_answer(request.scope, runtime.config, page, catalogue.as_of)


@get(
    "/v1/search",
    opt=operation("Search titles and people", query=SEARCH_PARAMETERS, answers={200: "CardPage", 304: None}, problems=(400,)),
)
async def search(request: JsonRequest) -> Answer:
    """Answer a page of movies whose titles and people have the words, best first."""
    runtime, catalogue = await catalogue_for(request)
    page = await catalogue.search(parse_search(query_pairs(request)))
    return page_answer(request.scope, runtime.config, page, catalogue.as_of)


@get(
    "/v1/suggest",
    opt=operation(
        "Suggest titles and people", query=SUGGEST_PARAMETERS, answers={200: "Suggestions", 304: None}, problems=(400,)
    ),
)
async def suggest(request: JsonRequest) -> Answer:
    """Answer ten titles or people for a search box."""
    runtime, catalogue = await catalogue_for(request)
    q = parse_q(group(query_pairs(request), SUGGEST_PARAMETERS))
    body = await catalogue.suggest(q)
    return body_answer(request.scope, runtime.config, body, catalogue.as_of)


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
async def get_person(request: JsonRequest, person_id: FromPath[str]) -> Answer:
    """Answer a person and a page of the movies that they made or played in."""
    runtime, catalogue = await catalogue_for(request)
    values = group(query_pairs(request), PERSON_PARAMETERS)
    if not (person_id.isascii() and person_id.isdigit() and len(person_id) <= 16):
        raise NotFound(f"There is no person {person_id[:60]!r}; a person's id is a whole number.")
    query = ListQuery(sort=parse_sort(values), limit=parse_limit(values), cursor=first(values, "cursor"))
    page = await catalogue.person(int(person_id), query)
    return page_answer(request.scope, runtime.config, page, catalogue.as_of)


@get("/v1/genres", opt=operation("List genres", answers={200: "Genres", 304: None}, problems=(400,)))
async def list_genres(request: JsonRequest) -> Answer:
    """Answer the genres with the number of their movies."""
    runtime, catalogue = await catalogue_for(request)
    group(query_pairs(request), ())
    body = await catalogue.genres()
    return body_answer(request.scope, runtime.config, body, catalogue.as_of)


@get(
    "/v1/changes",
    opt=operation("Follow the log of changes", query=CHANGES_PARAMETERS, answers={200: "Changes", 304: None}, problems=(400,)),
)
async def list_changes(request: JsonRequest) -> Answer:
    """Answer what was changed after a position, in the order of the commits."""
    runtime, catalogue = await catalogue_for(request)
    values = group(query_pairs(request), CHANGES_PARAMETERS)
    body = await catalogue.changes(number(values, "since") or 0, parse_limit(values))
    return body_answer(request.scope, runtime.config, body, catalogue.as_of)


HANDLERS = [get_movie, list_movies, search, suggest, get_person, list_genres, list_changes]

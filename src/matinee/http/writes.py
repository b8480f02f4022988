"""POST, PUT, PATCH, DELETE: the admins' writes. Each runs in the write path's own thread and answers its position.

A write is acknowledged after its commit; the next GET shows it.
"""

from __future__ import annotations

import asyncio
import calendar
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from litestar import Request, delete, patch, post, put
from litestar.params import FromPath

from matinee.domain.ids import MAX_ID, parse_ref
from matinee.domain.movie import MovieDocument, parse_content, whole_numbers
from matinee.domain.representation import encode_body, etag
from matinee.errors import Fault, InvalidBody, Overloaded
from matinee.http.access import writer_for
from matinee.http.answers import Answer, Headers, base_url, validators
from matinee.http.operations import DOOMED_MOVIE_ID, IDEMPOTENCY_KEY, IF_MATCH, MOVIE_ID, operation
from matinee.http.parameters import idempotency_key, if_match, json_body
from matinee.runtime import Runtime
from matinee.write import idempotency, movies
from matinee.write.movies import Written

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
JsonRequest = Request[Any, Any, Any]
T = TypeVar("T")


async def in_write_thread(runtime: Runtime, write: Callable[[], T]) -> T:
    """Run a write in the write path's thread. A client who hangs up does not stop it: it is whole or not at all.

    Raises: Overloaded when its turn comes after its deadline; nothing is written then.
    """
    ends_s = time.monotonic() + runtime.config.write_timeout_ms / 1000

    def in_turn() -> T:
        if time.monotonic() > ends_s:
            raise Overloaded("Other writes took too long before this one, which was not begun; try again in a second.")
        return write()

    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(runtime.writes, in_turn))


@post(
    "/v1/movies",
    opt=operation(
        "Add a movie",
        headers=(IDEMPOTENCY_KEY,),
        body="MovieContent",
        answers={201: "MovieDocument"},
        problems=(400, 408, 409, 413, 415, 422),
        writes=True,
    ),
)
async def create_movie(request: JsonRequest) -> Answer:
    """Add a movie and answer it with its address."""
    runtime, actor = await writer_for(request)
    plain, raw = await json_body(request, _JSON)
    content = parse_content(plain)
    return await _once(request, runtime, actor, b"create\n" + raw, 201, lambda work: movies.create_in(work, content))


@post(
    "/v1/movies/{movie_id:str}/merge",
    opt=operation(
        "Merge a movie into another one",
        path=DOOMED_MOVIE_ID,
        headers=(IDEMPOTENCY_KEY,),
        body="MergeInto",
        answers={200: "MovieDocument"},
        problems=(400, 404, 408, 409, 410, 413, 415, 422),
        writes=True,
    ),
)
async def merge_movie(request: JsonRequest, movie_id: FromPath[str]) -> Answer:
    """Merge a movie into another one and answer the one that stays."""
    runtime, actor = await writer_for(request)
    ref = parse_ref(movie_id)
    plain, raw = await json_body(request, _JSON)
    into = whole_numbers(plain["into"]) if isinstance(plain, dict) and plain.keys() == {"into"} else None
    if not isinstance(into, int) or isinstance(into, bool) or not 0 < into <= MAX_ID:
        raise InvalidBody('Send {"into": 42}, the id of the movie that stays.', faults=(Fault("/into", "not a movie's id"),))
    name = f"merge {ref}\n".encode()
    return await _once(request, runtime, actor, name + raw, 200, lambda work: movies.merge_in(work, ref, into))


async def _once(
    request: JsonRequest, runtime: Runtime, actor: str, name: bytes, status: int, write: Callable[[Any], MovieDocument]
) -> Answer:
    once = partial(idempotency.once, idempotency_key(request), name, actor, write)
    stored, replayed = await in_write_thread(runtime, once)
    headers = validators(runtime.config, etag(stored["version"], stored["document_position"]), stored["updated_at_s"])
    headers.append((b"matinee-position", b"%d" % stored["position"]))
    if status == 201:
        location = f"{base_url(request.scope, runtime.config)}/v1/movies/{stored['id']}"
        headers.append((b"location", location.encode()))
    if replayed:
        headers.append((b"idempotent-replayed", b"true"))
    return Answer(status, stored["body"].encode(), headers)


@put(
    "/v1/movies/{movie_id:str}",
    opt=operation(
        "Replace a movie",
        path=MOVIE_ID,
        headers=(IF_MATCH,),
        body="MovieContent",
        answers={200: "MovieDocument"},
        problems=(400, 404, 408, 409, 410, 412, 413, 415, 422, 428),
        writes=True,
    ),
)
async def replace_movie(request: JsonRequest, movie_id: FromPath[str]) -> Answer:
    """Give a movie this content; what is not stated becomes unknown."""
    runtime, actor = await writer_for(request)
    ref, version = parse_ref(movie_id), if_match(request)
    plain, _ = await json_body(request, _JSON)
    content = parse_content(plain)
    return _written(runtime, await in_write_thread(runtime, lambda: movies.replace(ref, content, actor, version)))


@patch(
    "/v1/movies/{movie_id:str}",
    opt=operation(
        "Change a movie",
        path=MOVIE_ID,
        headers=(IF_MATCH,),
        body="MoviePatch",
        body_types=(_MERGE_PATCH, _JSON),
        answers={200: "MovieDocument"},
        problems=(400, 404, 408, 409, 410, 412, 413, 415, 422, 428),
        writes=True,
    ),
)
async def patch_movie(request: JsonRequest, movie_id: FromPath[str]) -> Answer:
    """Apply a JSON merge patch: what is stated is changed, null makes it unknown."""
    runtime, actor = await writer_for(request)
    ref, version = parse_ref(movie_id), if_match(request)
    plain, _ = await json_body(request, _MERGE_PATCH, _JSON)
    return _written(runtime, await in_write_thread(runtime, lambda: movies.patch(ref, plain, actor, version)))


@delete(
    "/v1/movies/{movie_id:str}",
    status_code=200,  # what Litestar would send; the Answer says 204 itself
    opt=operation(
        "Delete a movie",
        path=DOOMED_MOVIE_ID,
        headers=(IF_MATCH,),
        answers={204: None},
        problems=(400, 404, 410, 412, 428),
        writes=True,
    ),
)
async def delete_movie(request: JsonRequest, movie_id: FromPath[str]) -> Answer:
    """Delete a movie; its address answers 410 from now on."""
    runtime, actor = await writer_for(request)
    ref, version = parse_ref(movie_id), if_match(request)
    return _written(runtime, await in_write_thread(runtime, lambda: movies.delete(ref, actor, version)))


def _written(runtime: Runtime, written: Written) -> Answer:
    headers: Headers = [(b"matinee-position", b"%d" % written.position)]
    document = written.document
    if document is None:
        return Answer(204, b"", headers)
    tag, updated_at_s = etag(document.version, document.position), calendar.timegm(document.updated_at.utctimetuple())
    return Answer(200, encode_body(document), headers + validators(runtime.config, tag, updated_at_s))


HANDLERS = [create_movie, merge_movie, replace_movie, patch_movie, delete_movie]

"""GET /v1/movies/{id}: what happens on the address that nearly every request asks for, answered before any routing.

Called by the front for every request that it `takes`; the API's own handler (reads.get_movie) answers the rest of them, such as
one with a query string or a reader's key, with the same `answer_movie`. The framework's routing and request object would cost
three times what finding the movie does (docs/decisions/0005).
"""

from __future__ import annotations

from typing import Any

from matinee.domain.ids import parse_ref
from matinee.http.answers import Answer, base_url, movie_answer
from matinee.http.freshness import demand_of, told
from matinee.read.catalogue import Moved
from matinee.runtime import Runtime

TEMPLATE = "/v1/movies/{movie_id}"
_PREFIX = "/v1/movies/"


async def answer_movie(scope: Any, runtime: Runtime, movie_id: str) -> Answer:
    """Answer a movie's stored bytes, by our id or another catalogue's; 301 for a merged one, 304 for a known one.

    A client that shows a newer ETag than our copy holds proves that the copy is old: its position is demanded.
    Raises: InvalidParameter, NotFound, Gone, FuturePosition, NoReaderAvailable.
    Cost: 1 query.
    """
    ref = parse_ref(movie_id)
    catalogue = scope["matinee.catalogue"] = runtime.catalogue.view(demand_of(scope, knows_etag=True))
    found = await catalogue.movie(ref)
    if isinstance(found, Moved):
        location = f"{base_url(scope, runtime.config)}{_PREFIX}{found.id}"
        headers = [(b"location", location.encode()), (b"cache-control", b"no-cache"), *told(catalogue.as_of)]
        return Answer(301, b"", headers)
    return movie_answer(scope, runtime.config, found, catalogue.as_of)


class MovieRoute:
    """The address as an ASGI application of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._public = runtime.config.public_reads

    def takes(self, scope: Any) -> bool:
        """Return whether a request is a plain GET of one movie that anybody may read."""
        path: str = scope["path"]
        return (
            path.startswith(_PREFIX)
            and scope["method"] == "GET"
            and self._public
            and not scope["query_string"]
            and path.find("/", len(_PREFIX)) < 0
            and len(path) > len(_PREFIX)
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the movie."""
        scope["path_template"] = TEMPLATE
        answer = await answer_movie(scope, self._runtime, scope["path"][len(_PREFIX) :])
        await answer(scope, receive, send)

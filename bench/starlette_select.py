"""The yardstick: a bare Starlette route with the very same primary-key SELECT on SQLite, inline.

Served by read_path.py with Granian as Matinee is. It must not do anything that an answer does not need: no errors worth
reading, no metrics, no log, no request id, no conditional requests. What Matinee does on top of it is what the ratio measures.
"""

from __future__ import annotations

import sqlite3

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee import config
from matinee.domain.representation import etag
from matinee.storage.sql import named_queries


def create_app() -> Starlette:
    """Return the application of this worker process; the file is found as Matinee finds it, by MATINEE_HOME."""
    connection = sqlite3.connect(
        f"{config.load().database_path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    select = named_queries()["movie_by_id"]

    async def movie(request: Request) -> Response:
        rows = connection.execute(select, {"id": request.path_params["id"]}).fetchall()
        if not rows:
            return Response(status_code=404)
        _, version, position, _, body, _ = rows[0]
        headers = {"etag": etag(version, position), "cache-control": "public, max-age=0, must-revalidate"}
        return Response(body, media_type="application/json", headers=headers)

    return Starlette(routes=[Route("/v1/movies/{id:int}", movie)])

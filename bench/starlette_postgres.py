"""The yardstick on PostgreSQL: a bare Starlette route with the same SELECT over the same kind of pool, prepared and binary.

Served by read_path.py with Granian as Matinee is, when DATABASE_URL names a PostgreSQL. It must not do anything that an
answer does not need: no deadline, no second try, no watch over the server, no metrics, no log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee import config
from matinee.domain.representation import etag
from matinee.storage.postgres import plain_text
from matinee.storage.sql import named_queries


def create_app() -> Starlette:
    """Return the application of this worker process."""
    settings = config.load()
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        settings.database_url, min_size=2, max_size=settings.pool_size, open=False, kwargs={"autocommit": True}
    )
    select = plain_text(named_queries("postgresql")["movie_by_id"])

    async def movie(request: Request) -> Response:
        async with pool.connection() as connection:
            cursor = await connection.execute(select, {"id": request.path_params["id"]}, prepare=True, binary=True)
            rows = await cursor.fetchall()
        if not rows:
            return Response(status_code=404)
        _, version, position, _, body, _ = rows[0]
        headers = {"etag": etag(version, position), "cache-control": "public, max-age=0, must-revalidate"}
        return Response(body, media_type="application/json", headers=headers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await pool.open()
        yield
        await pool.close()

    return Starlette(routes=[Route("/v1/movies/{id:int}", movie)], lifespan=lifespan)

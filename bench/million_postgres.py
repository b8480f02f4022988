"""How long reads take on PostgreSQL with a million movies, uncached, through Matinee's own reader: p50 and p99 of each kind.

Run from the root of the repository on an empty, migrated database: `DATABASE_URL=postgresql://... python -m
bench.million_postgres`. It is filled first, which takes some minutes; one that is full already is measured as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
from tests.integration.many_movies import fill

from bench.tables import table
from matinee import config, runtime
from matinee.domain.query import SORTS, FacetFilter, Filters, ListQuery, SearchQuery, Sort
from matinee.storage.page_sql import KEYS
from matinee.storage.reader import Reader

_DEEP_PAGE = 40_000
_WARM_UP = 30


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.million_postgres", description=__doc__.split("\n\n")[0])
    parser.add_argument("--movies", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=300, help="of each kind")
    options = parser.parse_args()
    settings = config.load(read_timeout_ms=60_000)
    with psycopg.connect(settings.database_url, autocommit=True) as session:
        row = session.execute("SELECT count(*) FROM movie_document").fetchone()
    if row is not None and not row[0]:
        print(f"filling with {options.movies:,} movies ...", file=sys.stderr)
        fill(settings.database_url, options.movies)
    asyncio.run(measure(runtime.reader(settings), settings.database_url, options.movies, options.requests))
    return 0


def filters(chance: random.Random) -> dict[str, Filters]:
    """Return the common filters and pairs of filters, with other values each time."""
    year = chance.randint(1920, 2010)
    genre = FacetFilter("genre", (f"genre{chance.randint(1, 20)}",))
    language = FacetFilter("language", (f"language{chance.randint(21, 40)}",))
    years = (("year_from", year), ("year_to", year + 9))
    rating = (("rating_min", chance.randint(1, 9) * 1000),)
    return {
        "none": Filters(),
        "genre": Filters(facets=(genre,)),
        "genre, language": Filters(facets=(genre, language)),
        "genre, year": Filters(facets=(genre,), bounds=(("year", year),)),
        "genre, years": Filters(facets=(genre,), bounds=years),
        "genre, rating_min": Filters(facets=(genre,), bounds=rating),
        "year": Filters(bounds=(("year", year),)),
        "years": Filters(bounds=years),
        "years, rating_min": Filters(bounds=years + rating),
        "rating_min": Filters(bounds=rating),
    }


async def measure(reader: Reader, url: str, movies: int, requests: int) -> None:
    """Measure every kind of read and print a table."""
    chance = random.Random(1)
    rows = [("GET by id", "", *await _times(lambda: reader.movie(chance.randint(1, movies)), requests))]
    for sort in (Sort(name, direction == "-") for name, direction in SORTS.items()):
        deep = _keys_at(url, sort, _DEEP_PAGE * 20)
        for name in filters(chance):
            for place, after in (("page 1", None), (f"page {_DEEP_PAGE:,}", deep)):

                def ask(name: str = name, sort: Sort = sort, after: Any = after) -> Awaitable[Any]:
                    return reader.page(ListQuery(filters(chance)[name], sort), after)

                rows.append((f"sort={sort.name}, {name}", place, *await _times(ask, requests)))
    for q in ("common", "co", "c4ca4", "common 500", "zebra"):
        times = await _times(lambda q=q: reader.search(SearchQuery(q), None), requests // 10)
        rows.append((f"search {q}", "", *times))
    await reader.close()
    print(table(("read", "where", "p50 ms", "p99 ms"), [(*row[:2], f"{row[2]:.2f}", f"{row[3]:.2f}") for row in _shown(rows)]))
    slow = [row for row in rows if row[3] > (5 if row[0] == "GET by id" else 20)]
    print(f"\n{len(rows)} kinds of reads; with a p99 over its target (GET 5 ms, others 20 ms):")
    print("\n".join(f"  {name}, {place}: {p99_ms:.0f} ms" for name, place, _, p99_ms in slow) or "  none")


def _shown(rows: list[Any]) -> Iterator[Any]:
    """Yield GET and searches, and of each order and place the filter that took longest."""
    worst: dict[Any, Any] = {}
    for row in rows:
        key = (row[0].partition(",")[0], row[1])
        if key not in worst or row[3] > worst[key][3]:
            worst[key] = row
    yield from worst.values()


async def _times(ask: Callable[[], Awaitable[Any]], requests: int) -> tuple[float, float]:
    for _ in range(min(_WARM_UP, requests)):
        await ask()
    times = []
    for _ in range(requests):
        began_s = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(times), sorted(times)[int(len(times) * 0.99)]


def _keys_at(url: str, sort: Sort, place: int) -> tuple[Any, int] | None:
    """Return the keys of the movie at this place of a list, as the cursor of the page before would hold them."""
    key, way = KEYS[sort.name], "DESC" if sort.descending else "ASC"
    text = f"SELECT {key}, movie_id FROM movie_document ORDER BY {key} {way}, movie_id {way} OFFSET {place} LIMIT 1"
    with psycopg.connect(url) as session:
        return session.execute(text).fetchone()  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())

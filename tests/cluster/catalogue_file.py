"""A catalogue as it lies on disk: what stands in it, and what contradicts itself."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from tests import postgres


def ask(home: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement over the catalogue of a data folder."""
    if postgres.wanted():
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(statement.replace("?", "%s"), values).fetchall()
    with closing(sqlite3.connect(f"{(home / 'catalogue.sqlite3').as_uri()}?mode=ro", uri=True, timeout=30)) as file:
        return file.execute(statement, values).fetchall()


def movies(home: Path) -> int:
    """Return the number of movies."""
    return int(ask(home, "SELECT count(*) FROM movie")[0][0])


def position(home: Path) -> int:
    """Return the newest position."""
    return int(ask(home, "SELECT position FROM log_head")[0][0])


def contradictions(home: Path) -> list[str]:
    """Return what of the catalogue does not fit the rest of it; of a sound one, nothing."""
    found = [
        f"{name}: {ask(home, f'SELECT count(*) FROM {name}')[0][0]} rows for {movies(home)} movies"
        for name in ("movie_document", "movie_search" if postgres.wanted() else "movie_search_docsize")
        if ask(home, f"SELECT count(*) FROM {name}")[0][0] != movies(home)
    ]
    newest = ask(home, "SELECT coalesce(max(position), 0) FROM change")[0][0]
    if newest != position(home):
        found.append(f"the head is at {position(home)}, the log at {newest}")
    counted = """
        SELECT facet.name, facet.movies, count(movie_facet.movie_id) FROM facet
        LEFT JOIN movie_facet ON movie_facet.facet_id = facet.id
        GROUP BY facet.id HAVING facet.movies <> count(movie_facet.movie_id)
    """
    found += [f"{name} says {stated} movies and has {real}" for name, stated, real in ask(home, counted)]
    if not postgres.wanted():
        found += [f"integrity: {line}" for (line,) in ask(home, "PRAGMA integrity_check") if line != "ok"]
    return found

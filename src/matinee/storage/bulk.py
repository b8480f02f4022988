"""Write many rows in one call. Called by the writer only, inside its transaction.

Django's own bulk_create makes an object for each row; an import of 17,470 films has 400,000 of them, and the objects cost three
times what the rows do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection


def insert_rows(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert the rows; the names come from our own code, never from a caller's data."""
    if rows:
        places = ", ".join(["%s"] * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def upsert_rows(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert the rows, or replace all columns of those whose first column is there already."""
    if rows:
        places = ", ".join(["%s"] * len(columns))
        kept = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        statement = (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT ({columns[0]}) DO UPDATE SET {kept}"
        )
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def delete_rows(table: str, column: str, values: Iterable[Any]) -> None:
    """Delete the rows whose column has one of the values."""
    with connection.cursor() as cursor:
        cursor.executemany(f"DELETE FROM {table} WHERE {column} = %s", [(value,) for value in values])


def add_to_facet_counts(steps: Sequence[tuple[int, str, str]]) -> None:
    """Add to the number of movies of each facet: (step, kind, folded name)."""
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE facet SET movies = movies + %s WHERE kind = %s AND name_fold = %s", steps)

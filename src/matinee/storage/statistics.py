"""What PostgreSQL has counted of itself: statements, indexes, tables, slots. Called by `matinee sql report`; it only reads.

Each question may meet a server that does not count it or a role that may not see it; then it says so in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from matinee.storage.postgres_session import command_session
from matinee.storage.sql import named_queries

BIG_TABLE_ROWS = 10_000  # below, reading a table from end to end is the right plan
_REPORTS = ("statements", "indexes", "sequential_reads", "bloat", "slots")


def report(urls: Sequence[str]) -> dict[str, Any]:
    """Return the report of the leader and its followers, the leader first: each part as rows, or why there are none."""
    copies = [_copy(url) for url in urls]
    return {
        "copies": copies,
        "unused_indexes": _unused_everywhere(copies),
    }


def _copy(url: str) -> dict[str, Any]:
    sql = named_queries("postgresql")
    found: dict[str, Any] = {"name": _address(url)}
    try:
        with psycopg.connect(url, row_factory=dict_row, **command_session(url, "report")) as session:
            for part in _REPORTS:
                found[part] = _ask(session, sql[f"report_{part}"])
    except psycopg.OperationalError as error:
        found["error"] = " ".join(str(error).split())
    statements = found.get("statements")
    if isinstance(statements, list):
        for row in statements:
            row["name"] = _name_of(row["query"])
    return found


def _ask(session: psycopg.Connection[dict[str, Any]], statement: str) -> list[dict[str, Any]] | str:
    try:
        return session.execute(statement, {"big": BIG_TABLE_ROWS}).fetchall()
    except psycopg.errors.UndefinedTable:
        return "pg_stat_statements is not installed here: CREATE EXTENSION pg_stat_statements, and preload its library."
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InsufficientPrivilege) as error:
        return f"{error.diag.message_primary}; GRANT pg_monitor to this role."


def _unused_everywhere(copies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the indexes that no copy has ever read: what one does not need, another may."""
    counted = [copy["indexes"] for copy in copies if isinstance(copy.get("indexes"), list)]
    if not counted:
        return []
    used = {row["index"] for rows in counted for row in rows if row["scans"]}
    return [row for row in counted[0] if row["index"] not in used]


def _name_of(query: str) -> str:
    """Return which of our named statements a text is, by its beginning and its tables; empty for others."""
    plain = " ".join(query.split())
    for name, text in named_queries("postgresql").items():
        # Up to the first value, which the server shows as $1, or the first part that is filled in.
        words = " ".join(text.split()).partition("{")[0].partition(":")[0]
        if len(words) > 40 and words in plain:
            return name
    return ""


def _address(url: str) -> str:
    stated = psycopg.conninfo.conninfo_to_dict(url)
    return f"{stated.get('host', 'localhost')}:{stated.get('port', 5432)}"

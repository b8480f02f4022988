"""PostgreSQL's roles of the service: one that writes, and one that cannot. Called by schema.py after each migration.

The reader is what followers are read as: a mistake in the read path cannot change anything, on whatever server it ends up. Who
migrates owns the tables; neither role can alter them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import DatabaseError, connection

from matinee.storage.postgres import READ_SETTINGS
from matinee.storage.postgres_session import RELIED_ON

WRITER, READER = "matinee_writer", "matinee_reader"
# What readers ask for, by queries/*.sql. People who sign in, their sessions and stored answers are none of it.
READ_TABLES = (
    "api_key", "change", "credit", "external_id", "facet", "log_head", "movie_document", "movie_facet",
    "movie_popularity", "movie_search", "person", "tombstone",
)  # fmt: skip
READ_TIMEOUT_MS = 60_000  # the longest MATINEE_READ_TIMEOUT_MS; behind PgBouncer no session states its own


def ensure() -> str | None:
    """Make the roles that are missing and grant what each may do; return what is left to be done by hand, if anything."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)", [WRITER, READER])
        missing = sorted({WRITER, READER} - {name for (name,) in cursor.fetchall()})
        cursor.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
        (may_create,) = cursor.fetchone()
        if missing and not may_create:
            commands = " ".join(f"CREATE ROLE {name} LOGIN;" for name in missing)
            return f"This role may not create others. As one that may, run: {commands} Then run `matinee migrate` again."
        for name in missing:
            cursor.execute(f"CREATE ROLE {name} LOGIN")
        if READER in missing:
            settings = {"default_transaction_read_only": "on", "statement_timeout": READ_TIMEOUT_MS, **READ_SETTINGS}
            for name, value in settings.items():
                cursor.execute(f"ALTER ROLE {READER} SET {name} = {value}")
        for statement in _grants():
            cursor.execute(statement)
        if may_create:
            _rely(cursor)
    return f"Give {' and '.join(missing)} a password: ALTER ROLE {missing[0]} PASSWORD '...'" if missing else None


def _rely(cursor: Any) -> None:
    """State for both roles what every session relies on: behind PgBouncer, sessions cannot state it themselves."""
    with suppress(DatabaseError):  # since PostgreSQL 16 only an administrator of a role may; direct sessions need it not
        for role in (WRITER, READER):
            for name, value in RELIED_ON.items():
                cursor.execute(f"ALTER ROLE {role} SET {name} = '{value}'")


def _grants() -> list[str]:
    everything = "SELECT, INSERT, UPDATE, DELETE ON"
    return [
        f"GRANT {everything} ALL TABLES IN SCHEMA public TO {WRITER}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {WRITER}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {everything} TABLES TO {WRITER}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {WRITER}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {READER}",
        f"GRANT SELECT ON {', '.join(READ_TABLES)} TO {READER}",
    ]

"""Tell whether a database is a catalogue of ours, and its schema the one that this program knows.

Called by the command line before it serves. Bad states are told here, with what to do, before a request can meet them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError as DjangoDatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from matinee import private_files
from matinee.config import Config
from matinee.errors import DatabaseError
from matinee.storage import roles

APPLICATION_ID = 0x4D54494E  # "MTIN" in the header of the file: whose it is, before any table is looked at
ALONE_WITHIN_MS = 60_000  # another `matinee migrate` is waited for
LOCK_WITHIN_MS = 1_000  # somebody who uses a table is waited for
STATEMENT_WITHIN_MS = 600_000  # an index of a big table takes minutes
OLDEST_POSTGRESQL = 150_000
OLDEST_SQLITE = (3, 38, 0)  # the first with ->> on JSON
_PGBOUNCER_SAYS = "unsupported startup parameter"  # of settings of a session, which are sent unless MATINEE_PGBOUNCER is set


def claim(config: Config) -> None:
    """Make the file if it is not there, and refuse a database that is not ours. Raises: DatabaseError."""
    if config.on_postgres:
        _claim_postgresql(config)
    else:
        _claim_file(config.database_path)


def _claim_postgresql(config: Config) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
            version, encoding = cursor.fetchone()
            tables = set(connection.introspection.table_names(cursor))
    except DjangoDatabaseError as error:
        reason = " ".join(str(error).split())
        remedy = "Check DATABASE_URL, that the server runs, and that the database is there (`createdb matinee`)."
        if _PGBOUNCER_SAYS in reason:
            remedy = "That is PgBouncer: set MATINEE_PGBOUNCER=true."
        raise DatabaseError(f"{config.database_name} cannot be reached ({reason}). {remedy}") from error
    if version < OLDEST_POSTGRESQL:
        raise DatabaseError(f"PostgreSQL {version // 10_000} is too old; {OLDEST_POSTGRESQL // 10_000} or newer is needed.")
    if encoding != "UTF8":
        raise DatabaseError(
            f"The database's encoding is {encoding}; make it anew: createdb --encoding=UTF8 --template=template0."
        )
    if tables and "django_migrations" not in tables:
        raise DatabaseError(
            f"{config.database_name} holds tables of another program; it was left as it is. "
            "Give DATABASE_URL a database of its own."
        )


def _claim_file(path: Path) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise DatabaseError(f"SQLite {sqlite3.sqlite_version} is too old; {wanted} or newer is needed.")
    with suppress(OSError):  # which SQLite then reports
        private_files.make_file(path)  # its log and shared memory get the mode of the file
    try:
        with closing(sqlite3.connect(path)) as file:
            tables = file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not tables:
                file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                file.execute("PRAGMA journal_mode = WAL")
            elif file.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise DatabaseError(
                    f"{path} is a database of another program; it was left as it is. "
                    "Give MATINEE_HOME another folder, or DATABASE_URL another file."
                )
    except sqlite3.Error as error:
        raise DatabaseError(
            f"{path} cannot be used as a catalogue ({error}). "
            "Check that it may be written to, or give MATINEE_HOME another folder."
        ) from error


def migrate() -> tuple[list[str], str | None]:
    """Bring the schema up to date; return the names of the migrations that ran, and what is left to be done by hand.

    Raises: DatabaseError when somebody holds a lock for too long, or something is to be done and PgBouncer stands between;
    nothing is half done then.
    """
    if connection.vendor != "postgresql":
        return _apply(), None
    if settings.BEHIND_PGBOUNCER:
        return _nothing_to_do(), None
    try:
        with _alone():
            return _apply(), roles.ensure()
    except DjangoDatabaseError as error:
        raise DatabaseError(
            f"The schema could not be changed ({' '.join(str(error).split())}). "
            "What was done is whole; run `matinee migrate` again."
        ) from error


def _nothing_to_do() -> list[str]:
    """Return that no migration ran; refuse when one should: a lock that others are to wait for needs a session of its own."""
    pending = _pending()
    if pending:
        raise DatabaseError(
            f"The schema is old ({len(pending)} migrations are missing), and it cannot be changed through PgBouncer. "
            "Run `matinee migrate` with DATABASE_URL straight to the leader and without MATINEE_PGBOUNCER."
        )
    if refolding().is_due():
        raise DatabaseError(
            "The search index was made by other rules, and it cannot be rebuilt through PgBouncer. "
            "Run `matinee migrate` with DATABASE_URL straight to the leader and without MATINEE_PGBOUNCER."
        )
    return []


def _apply() -> list[str]:
    pending = _pending()
    if pending:
        call_command("migrate", verbosity=0, interactive=False)
    refolding().run()
    return pending


def refolding() -> Any:
    """Return the module that rebuilds the folds; it needs Django to be set up, which this module is imported without."""
    from matinee.storage import refolding as found

    return found


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other runs waiting, and never keep the running service waiting for long.

    A change of a table waits for all who use it, and everybody after it waits behind it: it must give up soon. The lock is
    replayed on followers too, where it would cancel reads.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = %s", [ALONE_WITHIN_MS])
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [APPLICATION_ID])
        cursor.execute("SET lock_timeout = %s", [LOCK_WITHIN_MS])
        cursor.execute("SET statement_timeout = %s", [STATEMENT_WITHIN_MS])
    connection.holds_session = True  # type: ignore[attr-defined]  # leader_backend's
    try:
        yield
    finally:
        connection.holds_session = False  # type: ignore[attr-defined]
        connection.close()  # which gives the lock back, whatever state the session is in


def check(config: Config) -> None:
    """Refuse a catalogue whose schema is not this program's. Raises: DatabaseError."""
    path = config.database_name
    if not config.on_postgres and not config.database_path.exists():
        raise DatabaseError(f"There is no catalogue at {path}; make one with `matinee up` or `matinee migrate`.")
    claim(config)
    unknown = _unknown()
    if unknown:
        raise DatabaseError(f"{path} was made by a newer Matinee (it knows {unknown[0]}); upgrade this program.")
    pending = _pending()
    if pending:
        raise DatabaseError(f"The schema of {path} is old: {len(pending)} migrations are missing. Run `matinee migrate`.")
    if refolding().is_due():
        raise DatabaseError(f"The search index of {path} was made by other rules. Run `matinee migrate`.")


def missing_in(name: str, applied: frozenset[tuple[str, str]]) -> int:
    """Return how many migrations a copy of a catalogue lacks. Raises: DatabaseError when a newer Matinee made it."""
    known = set(MigrationLoader(None).disk_migrations or {})
    unknown = sorted(f"{app}.{migration}" for app, migration in applied - known if app == "catalogue")
    if unknown:
        raise DatabaseError(f"{name} was made by a newer Matinee (it knows {unknown[0]}); upgrade this program.")
    return len(known - applied)


def _pending() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _unknown() -> list[str]:
    loader = MigrationExecutor(connection).loader
    known = loader.disk_migrations or {}
    return [f"{app}.{name}" for app, name in loader.applied_migrations if app == "catalogue" and (app, name) not in known]

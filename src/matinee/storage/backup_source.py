"""An instance of PostgreSQL as the source of a base backup: may it be taken, and where is it. Called by cli/backup.py."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from matinee.config import without_password
from matinee.errors import DatabaseError
from matinee.storage.postgres_session import command_session

_LOOK = """
    SELECT (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), current_user::text,
        to_regclass('public.log_head') IS NOT NULL, (SELECT count(*) FROM pg_tablespace) > 2,
        current_setting('server_version_num')::int / 10000, current_database()::text
"""
_CLUSTER = "DATABASE_URL=$(matinee cluster url leader --owner --passwords) matinee backup"


@dataclass(frozen=True)
class BackupSource:
    """Where a base backup is taken from. `conninfo` is without the password, which no process is to show in its arguments."""

    conninfo: str
    password: str
    name: str
    database: str
    version: int
    position: int


def look(url: str) -> BackupSource:
    """Return what is known of a source; its position is the least that a backup from now on holds. Raises: DatabaseError."""
    name = without_password(url)
    try:
        with psycopg.connect(url, **command_session(url, "backup")) as session:
            ((may_copy, role, is_ours, has_tablespaces, version, database),) = session.execute(_LOOK).fetchall()
            _require(name, role, may_copy=may_copy, is_ours=is_ours, has_tablespaces=has_tablespaces)
            ((position,),) = session.execute("SELECT position FROM public.log_head WHERE id = 1").fetchall()
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise DatabaseError(f"{name} cannot be copied ({reason}). Check the URL, and that the server runs.") from error
    stated = conninfo_to_dict(url)
    password = str(stated.pop("password", None) or "")
    return BackupSource(make_conninfo("", **stated), password, name, database, version, position)


def _require(name: str, role: str, *, may_copy: bool, is_ours: bool, has_tablespaces: bool) -> None:
    if not may_copy:
        raise DatabaseError(
            f"{role} may not copy {name}: a base backup needs a role with REPLICATION. "
            f"For a cluster of `matinee cluster up`: {_CLUSTER} "
            f"For servers of your own: ALTER ROLE {role} REPLICATION, and a line `host replication {role} ...` in pg_hba.conf."
        )
    if not is_ours:
        raise DatabaseError(f"{name} holds no catalogue; name the database that `matinee migrate` was run on.")
    if has_tablespaces:
        raise DatabaseError(f"{name} has tablespaces of its own, which this does not copy; run pg_basebackup yourself.")

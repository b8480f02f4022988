"""`doctor`: one line a dependency, and what to do about each that is not well."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import typer

from matinee import config as configuration
from matinee import runtime
from matinee.cli import health_cache, health_certificates, modes
from matinee.cli.cluster_settings import load_settings
from matinee.cli.home import export_settings
from matinee.cli.output import Json, as_json
from matinee.config import Config
from matinee.errors import MatineeError, OperatorError

_LEAST_FREE_BYTES = 256 * 1024 * 1024


def doctor(as_json_: Json = False) -> None:
    """Look at everything that the catalogue needs; exit code 1 when something is wrong."""
    findings = []
    for name, check in _checks():
        findings.append(_examine(name, check))
        if name == "database" and not findings[-1][1]:
            break  # what comes after looks into it
    if as_json_:
        as_json([{"name": name, "ok": ok, "detail": detail} for name, ok, detail in findings])
    else:
        for name, ok, detail in findings:
            mark = typer.style("OK  ", fg=typer.colors.GREEN) if ok else typer.style("BAD ", fg=typer.colors.RED)
            typer.echo(f"{mark} {name:<10} {detail}")
    raise typer.Exit(0 if all(ok for _, ok, _ in findings) else 1)


def _examine(name: str, check: Callable[[], str]) -> tuple[str, bool, str]:
    from django.db import DatabaseError

    try:
        return name, True, check()
    except MatineeError as error:
        return name, False, error.for_operators
    except (OSError, DatabaseError) as error:
        return name, False, " ".join(str(error).split())


def _checks() -> Iterator[tuple[str, Callable[[], str]]]:
    yield "python", _python
    try:
        config = load_settings(is_reading=True)
    except MatineeError as error:
        yield "settings", _raising(error)
        return
    yield "settings", lambda: f"{sum(row.source != 'default' for row in configuration.origins(config))} not at their default"
    yield "home", lambda: _home(config)
    yield "secret", lambda: _secret(config)
    yield "modes", lambda: modes.check(config)
    yield "memory", health_cache.memory
    yield "cache", lambda: health_cache.local(config)
    yield "limits", lambda: _limits(config)
    for look in health_certificates.checks(config):
        yield "certificate", look
    if config.redis_url:
        yield "redis", lambda: health_cache.redis(config)
    if config.memcached_url:
        yield "memcached", lambda: health_cache.memcached(config)
    yield "database", lambda: _database(config)
    yield "catalogue", _catalogue
    yield "search", lambda: _search(config)
    yield "admin", _admin
    if config.on_postgres:
        yield "role", _role
        yield "session", _session
        yield "pools", lambda: _connections(config)
        yield "slots", _slots
        for url in config.follower_urls:
            yield "follower", partial(_follower, url)


def _raising(error: MatineeError) -> Callable[[], str]:
    def raise_it() -> str:
        raise error

    return raise_it


def _python() -> str:
    return f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"


def _home(config: Config) -> str:
    if not os.access(config.home, os.W_OK):
        raise OperatorError(f"{config.home} is missing or cannot be written to; run `matinee up`, or set MATINEE_HOME.")
    free_bytes = shutil.disk_usage(config.home).free
    if free_bytes < _LEAST_FREE_BYTES:
        raise OperatorError(f"{config.home} has only {free_bytes // 2**20} MiB of disk left; make room.")
    return f"{config.home}, {free_bytes / 2**30:.0f} GiB free"


def _secret(config: Config) -> str:
    if not config.secret_key:
        raise OperatorError("There is no secret key; run `matinee up`, or set SECRET_KEY.")
    return "set"


def _limits(config: Config) -> str:
    """Return the limits of clients and keys, with a hint where there are none in production, or each process counts alone."""
    if not config.client_rate_per_s:
        hint = "; anybody may send any number of requests: set MATINEE_CLIENT_RATE" if config.production else ""
        return f"no limit for a client address{hint}"
    alone = config.workers > 1 and not config.redis_url
    of_keys = f"{config.key_rate_per_s:g}" if config.key_rate_per_s else "no limit"
    told = f"{config.client_rate_per_s:g} requests/s for an address, {of_keys} for a key without a quota"
    hint = f"; each of {config.workers} processes counts alone: set REDIS_URL to count together" if alone else ""
    proxies = "" if config.trusted_proxies else "; behind a proxy set MATINEE_TRUSTED_PROXIES, or its clients share one limit"
    return f"{told}{hint}{proxies}"


def _database(config: Config) -> str:
    if not config.on_postgres and not config.database_path.exists():
        raise OperatorError(f"There is no catalogue at {config.database_path}; run `matinee up` or `matinee migrate`.")
    export_settings(config)
    runtime.setup_django()
    from matinee.storage import schema

    schema.check(config)
    return f"{config.database_name}, schema up to date"


def _one(statement: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def _catalogue() -> str:
    (movies,), (documents,) = _one("SELECT count(*) FROM movie"), _one("SELECT count(*) FROM movie_document")
    (position,) = _one("SELECT position FROM log_head")
    if movies != documents:
        raise OperatorError(f"{movies} movies have {documents} documents; restore the last backup and report this.")
    return f"{movies:,} movies, position {position:,}"


def _search(config: Config) -> str:
    (documents,) = _one("SELECT count(*) FROM movie_document")
    (indexed,) = _one(f"SELECT count(*) FROM {'movie_search' if config.on_postgres else 'movie_search_docsize'}")
    if documents != indexed:
        raise OperatorError(f"{documents} movies, but {indexed} in the search index; restore the last backup and report this.")
    from matinee.storage import refolding

    if behind := refolding.behind():
        raise OperatorError(
            f"{behind} changes were folded by a server of an older version. Servers of this version fold them again within a "
            "minute, and so does `matinee migrate`; end the older ones."
        )
    return f"{indexed:,} movies indexed"


def _role() -> str:
    may_write, role = _one("SELECT has_table_privilege('movie', 'INSERT'), current_user::text")
    if not may_write:
        raise OperatorError(f"{role} may not write; give DATABASE_URL the role matinee_writer, or the owner.")
    return f"{role} may write"


def _session() -> str:
    """Compare the writer's session with what it relies on; behind PgBouncer only roles and databases can state it."""
    from matinee.storage.postgres_session import RELIED_ON, USUAL

    row = _one(
        "SELECT json_object_agg(name, setting), current_user::text, current_setting('synchronous_commit'), "
        "current_setting('default_transaction_read_only') FROM pg_settings WHERE name = ANY (%s)",
        (list(RELIED_ON),),
    )
    found, role, commit, read_only = row
    settings = json.loads(found) if isinstance(found, str) else found
    good = {name: {value.lower(), USUAL.get(name, value).lower()} for name, value in RELIED_ON.items()}
    wrong = [name for name, values in good.items() if str(settings.get(name, RELIED_ON[name])).lower() not in values]
    if wrong:
        remedy = "; ".join(f"ALTER ROLE {role} SET {name} = '{RELIED_ON[name]}'" for name in wrong)
        raise OperatorError(f"{', '.join(wrong)}: other values than Matinee relies on. Run: {remedy}")
    if commit == "off":
        raise OperatorError(
            f"synchronous_commit is off: a crash loses acknowledged writes. ALTER ROLE {role} SET synchronous_commit = on"
        )
    if read_only == "on":
        raise OperatorError("default_transaction_read_only is on: every write is refused. Turn it off where it was set.")
    return f"{len(RELIED_ON)} settings as relied on, synchronous_commit {commit}"


def _connections(config: Config) -> str:
    """Compare what the pools of this server's processes may open with what each instance takes."""
    at_leader = config.leader_pool_size if config.follower_urls else config.pool_size
    wanted = config.workers * (at_leader + 3)  # beside reads: the write thread, the admin's, the watch's
    of_followers = config.workers * (config.pool_size + 1)
    if config.pgbouncer:
        # How many it takes, its own console alone would tell.
        return f"{wanted} of PgBouncer's max_client_conn at the leader, for each server; {of_followers} at each follower"
    (limit,) = _one("SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int")
    told = f"{wanted} of {limit} of the leader's, for each server; {of_followers} of each follower's"
    if wanted > limit:
        raise OperatorError(f"{told}: lower WEB_CONCURRENCY or MATINEE_LEADER_POOL_SIZE, or raise max_connections.")
    return told


def _slots() -> str:
    lost = "SELECT count(*), count(*) FILTER (WHERE wal_status IN ('lost', 'unreserved')) FROM pg_replication_slots"
    slots, broken = _one(lost)
    if broken:
        raise OperatorError(f"{broken} of {slots} replication slots are lost; those followers need a new base backup.")
    return f"{slots} replication slots, none lost"


def _follower(url: str) -> str:
    import psycopg

    from matinee.storage.postgres_session import command_session

    try:
        with psycopg.connect(url, **command_session(url, "doctor")) as session:
            row = session.execute(
                "SELECT pg_is_in_recovery(), position, current_setting('transaction_read_only') FROM public.log_head"
            ).fetchone()
    except psycopg.Error as error:
        raise OperatorError(f"{configuration.without_password(url)}: {' '.join(str(error).split())}") from error
    if row is None or not row[0]:
        raise OperatorError(f"{configuration.without_password(url)} is no follower; leave it out of DATABASE_FOLLOWER_URLS.")
    return f"{configuration.without_password(url)}, position {row[1]:,}"


def _admin() -> str:
    from matinee.write import users

    if not users.admins_exist():
        raise OperatorError("Nobody can sign in to the admin; run `matinee user create-admin`.")
    return "somebody can sign in"

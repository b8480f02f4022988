"""`doctor`: one line a dependency, and what to do about each that is not well."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import typer

from matinee import config as configuration
from matinee import runtime
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
    try:
        return name, True, check()
    except MatineeError as error:
        return name, False, error.detail
    except (OSError, sqlite3.Error) as error:
        return name, False, str(error)


def _checks() -> Iterator[tuple[str, Callable[[], str]]]:
    yield "python", _python
    try:
        config = configuration.load()
    except MatineeError as error:
        yield "settings", _raising(error)
        return
    yield "settings", lambda: f"{sum(row.source != 'default' for row in configuration.origins(config))} not at their default"
    yield "home", lambda: _home(config)
    yield "secret", lambda: _secret(config)
    yield "database", lambda: _database(config)
    yield "catalogue", lambda: _catalogue(config)
    yield "search", lambda: _search(config)
    yield "admin", _admin


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


def _database(config: Config) -> str:
    if not config.on_postgres and not config.database_path.exists():
        raise OperatorError(f"There is no catalogue at {config.database_path}; run `matinee up` or `matinee migrate`.")
    export_settings(config)
    runtime.setup_django()
    from matinee.storage import schema

    schema.check(config)
    return f"{config.database_name}, schema up to date"


def _connect(config: Config) -> sqlite3.Connection:
    return sqlite3.connect(f"{config.database_path.as_uri()}?mode=ro", uri=True)


def _catalogue(config: Config) -> str:
    with closing(_connect(config)) as file:
        (movies,) = file.execute("SELECT count(*) FROM movie").fetchone()
        (documents,) = file.execute("SELECT count(*) FROM movie_document").fetchone()
        (position,) = file.execute("SELECT position FROM log_head").fetchone()
    if movies != documents:
        raise OperatorError(f"{movies} movies have {documents} documents; restore the last backup and report this.")
    return f"{movies:,} movies, position {position:,}"


def _search(config: Config) -> str:
    with closing(_connect(config)) as file:
        (documents,) = file.execute("SELECT count(*) FROM movie_document").fetchone()
        (indexed,) = file.execute("SELECT count(*) FROM movie_search_docsize").fetchone()
    if documents != indexed:
        raise OperatorError(f"{documents} movies, but {indexed} in the search index; restore the last backup and report this.")
    return f"{indexed:,} movies indexed"


def _admin() -> str:
    from matinee.write import users

    if not users.admins_exist():
        raise OperatorError("Nobody can sign in to the admin; run `matinee user create-admin`.")
    return "somebody can sign in"

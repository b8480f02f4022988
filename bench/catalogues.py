"""Catalogues to measure: a home folder with the sample imported through the write path, made once and used by each bench.

Called by the benches in their own process, before anything of Django is imported.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from matinee import config, runtime
from matinee.config import Config

SAMPLE = Path(__file__).resolve().parent.parent / "src" / "matinee" / "sample" / "movies.ndjson.xz"


def use(home: Path) -> Config:
    """Make this process work with the catalogue in a folder, whose tables are created when they are not there."""
    from django.core.management import call_command

    home.mkdir(parents=True, exist_ok=True)
    os.environ["MATINEE_HOME"] = str(home)
    runtime.setup_django()
    settings = config.load()
    if settings.on_postgres or not settings.database_path.exists():
        call_command("migrate", verbosity=0)
    return settings


def add_sample(settings: Config, sample: Path) -> None:
    """Import the sample; what is there already stays as it is."""
    from matinee.importers import importing, ndjson
    from matinee.importers.source import open_source

    with open_source(str(sample)) as source:
        report = importing.run(
            ndjson.read(source.stream),
            actor="bench",
            batch_rows=settings.import_batch_rows,
            rejected_path=settings.home / "rejected.ndjson",
        )
    if report.rejected:
        raise RuntimeError(f"{report.rejected} records of {sample} were rejected; see {report.rejected_file}")


@contextmanager
def sample_home(home: Path | None, sample: Path) -> Iterator[Config]:
    """Give a catalogue with the sample: the one in `home`, filled when it is empty, or a temporary one."""
    if home is None:
        with TemporaryDirectory(prefix="matinee-bench-") as folder, sample_home(Path(folder), sample) as settings:
            yield settings
        return
    settings = use(home.resolve())
    if not movie_ids(settings):
        add_sample(settings, sample)
    yield settings


def movie_ids(settings: Config) -> list[int]:
    """Return the ids of all live movies."""
    select = "SELECT movie_id FROM movie_document ORDER BY movie_id"
    if settings.on_postgres:
        with psycopg.connect(settings.database_url) as session:
            return [row[0] for row in session.execute(select).fetchall()]
    connection = sqlite3.connect(f"{settings.database_path.as_uri()}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute(select)]
    finally:
        connection.close()

"""What the tests share: a migrated catalogue file to copy, the service in process, and real server processes.

Every test has a catalogue of its own. Django is set up once a process, its connection is pointed at the test's file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

# A busy machine makes inputs slowly; that is no fault of a test. A test's own @settings start from this profile.
hypothesis.settings.register_profile("any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("any-machine")

# Django reads its settings once, so they are in place before anything of ours is imported.
_SESSION_HOME = Path(tempfile.mkdtemp(prefix="matinee-tests-"))
for _name in [name for name in os.environ if name.startswith("MATINEE_")]:
    del os.environ[_name]
os.environ.update(
    MATINEE_HOME=str(_SESSION_HOME), SECRET_KEY="a key of the tests, of which nobody makes a secret", LOG_LEVEL="error"
)

from tests import postgres  # noqa: E402

# TEST_ENGINE says on which engine this run is; scripts/test runs the suite on both.
INSTANCE = postgres.TestInstance() if postgres.wanted() else None
if INSTANCE is not None:
    os.environ["DATABASE_URL"] = INSTANCE.url("matinee_template")

from matinee import config as configuration  # noqa: E402
from matinee import logs, runtime, settings  # noqa: E402

# Whatever Django answers in this process, a query that is repeated for row after row raises. Only the tests have this.
settings.INSTALLED_APPS.append("zeal")
settings.MIDDLEWARE.insert(0, "zeal.middleware.zeal_middleware")
# Not the second time: who signs out has the session read twice, and a form whose save was refused is made twice.
settings.ZEAL_NPLUSONE_THRESHOLD = 3
# An action on several rows is a transaction for each, and each locks the head of the log.
settings.ZEAL_ALLOWLIST = [{"model": "catalogue.LogHead", "field": "get()"}]
runtime.setup_django()
logs.setup(configuration.load())

from tests.client import Client  # noqa: E402
from tests.conformance.catalogues import django_at  # noqa: E402
from tests.movies import SMALL_CATALOGUE, record  # noqa: E402
from tests.processes import Server, start_server  # noqa: E402

# Begun first, so that none of them is left for one process when the other ones have nothing to do any more.
_LONGEST = (
    "test_schemathesis.py",
    "test_cluster_servers.py",
    "test_postgres_plans.py",
    "test_backup.py",
    "test_command_line.py",
)
TIERS = {"unit", "conformance", "integration", "cluster", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, which is the folder that it lies in; put the longest files first."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)
    for item in items:
        tier = item.path.parent.name
        assert tier in TIERS, f"{item.path} lies in no tier's folder"
        item.add_marker(getattr(pytest.mark, tier))
        for mark in item.iter_markers("sqlite_only"):
            if INSTANCE is not None:
                item.add_marker(pytest.mark.skip(reason=f"SQLite only: {mark.args[0]}"))


def pytest_sessionfinish() -> None:
    if INSTANCE is not None:
        INSTANCE.close()
    shutil.rmtree(_SESSION_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def empty_catalogue() -> Path:
    """Return a migrated catalogue without movies, to be given to `catalogue_in`: a file, or a name for the template."""
    from django.db import connections

    from matinee.storage import schema

    path = _SESSION_HOME / "catalogue.sqlite3"
    if INSTANCE is not None:
        INSTANCE.make_template()
        return path
    schema.claim(configuration.load(home=_SESSION_HOME))
    schema.migrate()
    connections.close_all()
    return path


@contextmanager
def catalogue_in(home: Path, empty_catalogue: Path, *, is_kept: bool = False) -> Iterator[None]:
    """Make an empty catalogue for a data folder; Django's connection points to it, and so do this process's children.

    `is_kept`: it is read on after this; on PostgreSQL it ends with the instance.
    """
    before = os.environ.get("DATABASE_URL")
    if INSTANCE is None:
        shutil.copy(empty_catalogue, home / "catalogue.sqlite3")
        with django_at(home / "catalogue.sqlite3"):
            yield
        return
    name = INSTANCE.new_database()
    os.environ["DATABASE_URL"] = INSTANCE.url(name)
    try:
        with django_at(name):
            yield
    finally:
        os.environ["DATABASE_URL"] = before or ""
        if not is_kept:
            INSTANCE.drop(name)


@pytest.fixture
def catalogue_home(empty_catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a data folder with an empty catalogue; Django's connection points into it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MATINEE_HOME", str(home))
    with catalogue_in(home, empty_catalogue):
        yield home


@pytest.fixture
def config(catalogue_home: Path) -> configuration.Config:
    """Return the settings of a test's catalogue."""
    return configuration.load(home=catalogue_home)


@pytest.fixture
def small_catalogue(catalogue_home: Path) -> Path:
    """Return a data folder whose catalogue holds tests.movies.SMALL_CATALOGUE."""
    from matinee.write import batches

    outcome = batches.write([record(line, **movie) for line, movie in enumerate(SMALL_CATALOGUE, start=1)], "tests")
    assert outcome.rejected == []
    return catalogue_home


@pytest.fixture
def client(catalogue_home: Path) -> Iterator[Client]:
    """Return the whole service in process, over an empty catalogue."""
    with Client(configuration.load(home=catalogue_home)) as client:
        yield client


@pytest.fixture
def movies(small_catalogue: Path) -> Iterator[Client]:
    """Return the whole service in process, over the small catalogue."""
    with Client(configuration.load(home=small_catalogue)) as client:
        yield client


@pytest.fixture
def server(small_catalogue: Path) -> Iterator[Server]:
    """Return a real server process over the small catalogue."""
    with start_server(small_catalogue) as running:
        yield running

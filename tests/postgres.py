"""PostgreSQL for the tests: an instance for each test process, a migrated template, and a database for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import psycopg

from matinee.ops.postgres import FOR_TESTS, SETTINGS, PostgresNode
from matinee.ops.processes import free_port

PASSWORD = "of the tests, on loopback, for as long as they run"


class TestInstance:
    """An instance that is made when the first test wants a database, and deleted with all of them at the end."""

    __test__ = False

    def __init__(self) -> None:
        # Not under the tests' own folder, which only this user may enter: PostgreSQL runs as another one when this is root.
        self.folder = Path(tempfile.mkdtemp(prefix="matinee-postgres-"))
        self.folder.chmod(0o755)
        settings = {**SETTINGS, **FOR_TESTS}
        self.node = PostgresNode("tests", self.folder / "node", free_port(), PASSWORD, settings)
        self._numbers = count(1)
        self._is_made = False

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return self.node.url(database)

    def make_template(self) -> None:
        """Make the instance and, in it, the database that all others are copies of."""
        from django.db import connections

        from matinee import config as configuration
        from matinee.storage import schema

        self.node.create()
        self.node.start()
        self._is_made = True
        self.run("CREATE DATABASE matinee_template")
        schema.claim(configuration.load())
        schema.migrate()
        connections.close_all()

    def new_database(self) -> str:
        """Return the name of a new database that is migrated and empty."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE matinee_template STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def run(self, statement: str) -> None:
        """Run a statement as the instance's owner."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def close(self) -> None:
        """End the instance and delete it."""
        if self._is_made:
            self.node.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def wanted() -> bool:
    """Return whether this run of the tests is the one on PostgreSQL."""
    return os.environ.get("TEST_ENGINE", "sqlite") == "postgresql"

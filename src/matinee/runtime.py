"""Build the parts of one process from its Config: Django set up once, a reader, the catalogue's read and write sides.

Called by http and cli; the importers are handed what it builds. It must never decide anything about a movie.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from matinee.config import Config
from matinee.domain.cursor import CursorSigner
from matinee.read.catalogue import Catalogue
from matinee.storage.sqlite import sqlite_reader


def setup_django() -> None:
    """Set Django up in this process; safe to call again."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matinee.settings")
    django.setup()


@dataclass
class Runtime:
    """What one process works with."""

    config: Config
    catalogue: Catalogue
    writes: ThreadPoolExecutor

    async def close(self) -> None:
        """Finish the writes that have begun and close the reader."""
        self.writes.shutdown(wait=True)
        await self.catalogue.close()


def build(config: Config) -> Runtime:
    """Return this process's parts; nothing is opened before the first read."""
    reader = sqlite_reader(config.database_path, timeout_ms=config.read_timeout_ms)
    signer = CursorSigner(config.secret_key or "unsigned")
    # One thread: SQLite takes one writer at a time anyway, and waiting in line here costs nobody a connection.
    writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="matinee-write")
    return Runtime(config, Catalogue(reader, signer), writes)

"""Build the parts of one process from its Config: Django set up once, a reader, the catalogue's read and write sides.

Called by http and cli; the importers are handed what it builds. It must never decide anything about a movie.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from matinee.config import Config
from matinee.domain.cursor import CursorSigner
from matinee.read.catalogue import Catalogue
from matinee.storage.reader import Reader
from matinee.storage.source import Source


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


def build(config: Config, source: Source | None = None) -> Runtime:
    """Return this process's parts; nothing is opened before the first read. Another source than the settings' may be given."""
    signer = CursorSigner(config.secret_key or "unsigned")
    # One thread: SQLite takes one writer at a time anyway, and waiting in line here costs nobody a connection.
    writes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="matinee-write")
    return Runtime(config, Catalogue(reader(config, source), signer), writes)


def reader(config: Config, source: Source | None = None) -> Reader:
    """Return the reader of the engine that the settings name."""
    # What readers count must not be imported before the server has said where several workers count together.
    from matinee.storage.sql_reader import SqlReader

    return SqlReader(source or source_of(config))


def source_of(config: Config) -> Source:
    """Return where the settings say that statements are sent."""
    if not config.on_postgres:
        from matinee.storage.sqlite import SqliteFile

        return SqliteFile(config.database_path, timeout_ms=config.read_timeout_ms)
    from matinee.storage.copies import Copy
    from matinee.storage.followers import Followers, ReadRules
    from matinee.storage.postgres import Server, ServerOptions

    rules = ReadRules(
        timeout_s=config.read_timeout_ms / 1000,
        hedge_s=config.hedge_ms / 1000,
        max_lag_s=config.max_follower_lag_s,
        min_position_wait_s=config.min_position_wait_ms / 1000,
        leader_reads=config.leader_reads == "when_needed",
        leader_reads_at_once=config.leader_pool_size,
        tail_interval_ms=config.change_tail_interval_ms,
    )
    options = ServerOptions(config.pool_size, config.read_timeout_ms, config.pgbouncer)
    for_leader = replace(options, pool_size=config.leader_pool_size) if config.follower_urls else options
    leader = Copy(Server(config.database_url, for_leader, "leader"), "leader")
    followers = [Copy(Server(url, options, "follower"), "follower") for url in config.follower_urls]
    return Followers(leader, followers, rules)

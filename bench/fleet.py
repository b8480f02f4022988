"""A leader with the sample and its streaming followers on loopback, made and set as `matinee cluster up` makes them.

Called by followers.py. Everything lies in one temporary folder and is ended by its own id when the block ends, whatever
happened before.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import catalogues
from bench.servers import environment
from matinee import config
from matinee.ops.cluster import DATABASE, Cluster, new
from matinee.ops.postgres import require_installed
from matinee.ops.processes import run

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
_TIDY_WITHIN_S = 120.0  # the sample takes two seconds; the rest is for a busy machine


@dataclass(frozen=True)
class Fleet:
    """A leader and followers that run; the folder of the servers' own files, and a key that may write."""

    cluster: Cluster
    home: Path
    key: str
    movie_ids: list[int]

    def environ(self, followers: int) -> dict[str, str]:
        """Return what a server is told: to write to the leader and to read from the first so many followers."""
        urls = list(self.follower_urls().values())[:followers]
        return {"DATABASE_URL": self.cluster.writer_url(), "DATABASE_FOLLOWER_URLS": ",".join(urls)}

    def follower_urls(self) -> dict[str, str]:
        """Return each follower's address for the role that cannot write, by name."""
        return {node.name: self.cluster.reader_url(node) for node in self.cluster.followers}


@contextmanager
def fleet(followers: int) -> Iterator[Fleet]:
    """Run a leader with the sample and so many followers until the block ends. Raises: OperatorError."""
    require_installed()
    home = Path(tempfile.mkdtemp(prefix="matinee-bench-fleet-"))
    home.chmod(0o711)  # for a root PostgreSQL runs as another user, which must get through
    cluster = new(home, lambda _: None)
    try:
        yield _made(cluster, followers)
    finally:
        cluster.delete()


def _made(cluster: Cluster, followers: int) -> Fleet:
    home = cluster.home / "servers"
    home.mkdir()
    _tell("making the leader")
    cluster.add_leader()
    _matinee(cluster, home, "migrate")
    cluster.set_passwords()
    _tell("loading the sample")
    _matinee(cluster, home, "import", "ndjson", str(catalogues.SAMPLE))
    # What autovacuum would do in the middle of a turn.
    cluster.leader.postgres.ask("VACUUM ANALYZE", DATABASE, within_s=_TIDY_WITHIN_S)
    key = _matinee(cluster, home, "key", "create", "--name", "bench", "--scope", "write").strip()
    for _ in range(followers):
        _tell("making a follower")
        cluster.add_follower()
    settings = config.load({"MATINEE_HOME": str(home), "DATABASE_URL": cluster.owner_url()})
    return Fleet(cluster, home, key, catalogues.movie_ids(settings))


def _matinee(cluster: Cluster, home: Path, *words: str) -> str:
    """Run one of our commands as the catalogue's owner and return what it printed. Raises: OperatorError."""
    told = {"MATINEE_HOME": str(home), "DATABASE_URL": cluster.owner_url(), "DATABASE_FOLLOWER_URLS": ""}
    return run([*_MATINEE, *words], environment=environment(told))


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr)

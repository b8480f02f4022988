"""Which databases and Redis a command uses: those of the settings, else those of the cluster that runs in MATINEE_HOME.

Called by every command that works on a catalogue or looks at a server. Precedence: environment over the running cluster of this
MATINEE_HOME over the default. Where the folder has a SQLite catalogue of its own too, a command that changes something refuses
to guess. URLs with passwords go from the cluster's state file, which only its owner may read, into this
process's own environment: they are in no process list and in no output.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from matinee import config as configuration
from matinee.cli.output import tell
from matinee.config import Config, given, home_of
from matinee.errors import OperatorError

if TYPE_CHECKING:
    from matinee.ops.cluster import Cluster

_STATED = ("DATABASE_URL", "DATABASE_FOLLOWER_URLS")
_SERVERS = ("MATINEE_HOST", "PORT", "MATINEE_PUBLIC_URL")
_OWN = "catalogue.sqlite3"
_CACHES = ("REDIS_URL", "MEMCACHED_URL")
# What this process has taken from a cluster; the variables are in its environment, where Django's settings read them too.
_taken: dict[str, str] = {}


def load_settings(*, as_owner: bool = False, is_reading: bool = False) -> Config:
    """Return the settings of a command, completed from the running cluster of MATINEE_HOME when DATABASE_URL is not set.

    `as_owner`: as the owner of the tables, who may migrate and back up. `is_reading`: the command changes nothing, so it may
    use the cluster although the folder has a SQLite catalogue too. Says on the error stream that it uses a cluster.
    Raises: ConfigError; OperatorError when this MATINEE_HOME has only a cluster, and it does not run, or when it has both.
    """
    cluster = _cluster(os.environ)
    if cluster is not None:
        own = cluster.home.parent / _OWN
        if own.exists() and not is_reading:
            raise OperatorError(_which(own, as_owner=as_owner))
        found = _found(cluster, as_owner=as_owner)
        _taken.update(found)
        os.environ.update(found)
        tell(
            f"Using the cluster in {cluster.home} (leader {cluster.leader.name}, {cluster.leader.address})"
            f"{f', not {own}' if own.exists() else ''}."
        )
    return configuration.load()


def _which(own: Path, *, as_owner: bool) -> str:
    """Return the commands that say which of two catalogues is meant."""
    owner = " --owner" if as_owner else ""
    return (
        f"{own.parent} has a running cluster and a SQLite catalogue; say which one this command means. "
        f"The file: DATABASE_URL=sqlite:///{quote(str(own))} matinee ... "
        f'The cluster: DATABASE_URL="$(matinee cluster url leader{owner} --passwords)" matinee ...'
    )


def source_of(env: str) -> str | None:
    """Return where a variable came from when a cluster gave it."""
    is_from_cluster = env in _taken and os.environ.get(env) == _taken[env]
    return f"cluster in {cluster_home(home_of(os.environ))}" if is_from_cluster else None


def running_server(environ: Mapping[str, str], *, for_operators: bool = False) -> str | None:
    """Return the URL of a server of the running cluster, None when a server is named by the settings or there is no cluster.

    `for_operators`: that of its health listener.
    """
    stated = given(environ)
    if any(name in stated for name in _SERVERS):
        return None
    cluster = _kept(environ)
    running = [server for server in cluster.servers if server.state() == "running"] if cluster else []
    if not running:
        return None
    return running[0].ops_address if for_operators else running[0].address


def cluster_home(home: Path) -> Path:
    """Return the folder of a cluster's files."""
    return home / "cluster"


def _kept(environ: Mapping[str, str]) -> Cluster | None:
    """Return the cluster of MATINEE_HOME, running or not; None when there is none, or the folder cannot even be named."""
    try:
        home = home_of(environ)
    except ValueError:
        return None  # load() says what is wrong with it
    if not home.is_absolute() or not os.path.lexists(cluster_home(home)):
        return None
    from matinee.ops import cluster_file  # a quarter of the time that most commands would need to start

    return cluster_file.load(cluster_home(home))


def _cluster(environ: Mapping[str, str]) -> Cluster | None:
    """Return the cluster to use: a running one, and only where no database is stated. Raises: OperatorError."""
    if any(name in given(environ) for name in _STATED):
        return None
    cluster = _kept(environ)
    if cluster is None or not cluster.databases:
        return None
    if all(node.state() == "dead" for node in cluster.databases):
        if (cluster.home.parent / _OWN).exists():
            return None  # an own catalogue lies beside it
        raise OperatorError(
            f"The cluster in {cluster.home} does not run: start it with `matinee cluster up`, or set DATABASE_URL."
        )
    cluster.look_who_leads()
    if cluster.leader.state() != "running":
        raise OperatorError(
            f"The leader of the cluster in {cluster.home} is {cluster.leader.state()}; see `matinee cluster status`, "
            "or set DATABASE_URL."
        )
    return cluster


def _found(cluster: Cluster, *, as_owner: bool) -> dict[str, str]:
    """Return the variables that the cluster completes."""
    running = [node for node in cluster.followers if node.state() == "running"]
    followers = [cluster.owner_url(node) if as_owner else cluster.reader_url(node) for node in running]
    leader = cluster.owner_url() if as_owner else cluster.writer_url()
    found = {"DATABASE_URL": leader, "DATABASE_FOLLOWER_URLS": ",".join(followers)}
    redis = cluster.engine("redis")
    is_stated = any(name in given(os.environ) for name in _CACHES)
    if redis is not None and redis.state() == "running" and not is_stated:
        found["REDIS_URL"] = cluster.redis_url() or ""
    return {name: value for name, value in found.items() if value}

"""The URLs at which the servers of a cluster reach its databases and its Redis, with passwords and the CA to verify with.

Called by rendering.py and cluster.py. Every URL of a cluster with TLS says verify-full: an address that somebody else has taken
gets no password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from matinee.ops.topology import Place, Topology

# The users of Redis: what the servers are, and what Redis is to its master, and Sentinel to both.
REDIS_USER, REDIS_PEER = "matinee", "peer"


def postgres_url(user: str, password: str, at: str, database: str, authorities: Path | None) -> str:
    """Return a URL of PostgreSQL; with `authorities`, the file of the CAs, the server must prove that it is the one named."""
    verified = f"?sslmode=verify-full&sslrootcert={quote(str(authorities))}" if authorities else ""
    return f"postgresql://{user}:{quote(password, safe='')}@{at}/{database}{verified}"


def writer_url(topology: Topology, passwords: Mapping[str, str], authorities: Path | None) -> str:
    """Return where servers write: by the front, if there is one, because it alone knows who leads."""
    return _matinee_url("matinee_writer", leader_at(topology).at, passwords, authorities)


def owner_url(topology: Topology, passwords: Mapping[str, str], authorities: Path | None) -> str:
    """Return where the owner of the database migrates."""
    return postgres_url("postgres", passwords["postgres"], leader_at(topology).at, "matinee", authorities)


def reader_urls(topology: Topology, passwords: Mapping[str, str], authorities: Path | None) -> list[str]:
    """Return where servers read: every follower, and where anybody may lead, everybody."""
    databases = topology.of("database")
    followers = databases if topology.high_availability else databases[1:]
    return [_matinee_url("matinee_reader", place.at, passwords, authorities) for place in followers]


def redis_url(topology: Topology, passwords: Mapping[str, str], authorities: Path | None) -> str | None:
    """Return where the shared cache is; None when there is none."""
    front, redis = topology.first("front"), topology.first("redis")
    if redis is None:
        return None
    is_moved = topology.of("sentinel") and front is not None
    at = f"{front.address}:{front.ports['redis_port']}" if is_moved and front is not None else redis.at
    # A cluster that an older version of Matinee made has no password for Redis.
    user = f"{REDIS_USER}:{passwords['redis']}@" if "redis" in passwords else ""
    if authorities is None:
        return f"redis://{user}{at}/0"
    return f"rediss://{user}{at}/0?ssl_ca_certs={quote(str(authorities))}"


def leader_at(topology: Topology) -> Place:
    """Return the node at which the leader is reached."""
    return topology.first("front") or topology.of("database")[0]


def _matinee_url(user: str, at: str, passwords: Mapping[str, str], authorities: Path | None) -> str:
    return postgres_url(user, passwords[user], at, "matinee", authorities)


def variables(topology: Topology, passwords: Mapping[str, str], authorities: Path | None) -> Iterator[tuple[str, str, str]]:
    """Yield what a server is told of databases and cache: variable, value, reason."""
    yield "DATABASE_URL", writer_url(topology, passwords, authorities), "where it writes"
    readers = ",".join(reader_urls(topology, passwords, authorities))
    yield "DATABASE_FOLLOWER_URLS", readers, "where it reads; whoever leads is left out while it leads"
    if redis := redis_url(topology, passwords, authorities):
        yield "REDIS_URL", redis, "the cache that all servers share"

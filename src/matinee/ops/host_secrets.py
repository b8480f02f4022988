"""Say which files with passwords a host with a database gets, and which user may read each.

Called by rendering.py. A host gets only what its own units and the steps of its README.md need. Says; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matinee.ops import server_urls
from matinee.ops.patroni import REST_USER
from matinee.ops.topology import Place, Topology

# The variables that Patroni takes its passwords from.
PATRONI_PASSWORDS = {"SUPERUSER": "postgres", "REPLICATION": "replicator", "REWIND": "rewinder", "RESTAPI": "patroni"}


class SecretFile(NamedTuple):
    """A file below /etc/matinee; the group "root" means that root alone reads it."""

    name: str
    lines: Sequence[str]
    group: str = "root"


def database_files(
    topology: Topology, secrets: Mapping[str, str], nodes: Sequence[Place], authorities: Path | None
) -> Iterator[SecretFile]:
    """Yield the files of a host with a database; the owner's passwords are on the first one's host alone."""
    is_first = topology.of("database")[0] in nodes
    if topology.high_availability:
        lines = [f"PATRONI_{role}_PASSWORD={secrets[name]}" for role, name in PATRONI_PASSWORDS.items()]
        lines.append(f"PATRONI_RESTAPI_USERNAME={REST_USER}")
        yield SecretFile("patroni.env", lines, "postgres")
    elif not is_first:
        yield SecretFile("replicator.env", [f"PGPASSWORD={secrets['replicator']}"])
    if is_first:
        roles = ("matinee_writer", "matinee_reader")
        yield SecretFile("owner.env", owner_variables(topology, secrets, authorities))
        yield SecretFile("roles.sql", [f"ALTER ROLE {name} PASSWORD '{secrets[name]}';" for name in roles])
    if is_first and not topology.high_availability:
        replicator = f"CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{secrets['replicator']}';"
        yield SecretFile("first.sql", [f"ALTER ROLE postgres PASSWORD '{secrets['postgres']}';", replicator])


def owner_variables(topology: Topology, secrets: Mapping[str, str], authorities: Path | None) -> list[str]:
    """Return the variables with which the owner reaches the database: those of psql, and Matinee's."""
    place = server_urls.leader_at(topology)
    verified = [] if authorities is None else ["PGSSLMODE=verify-full", f"PGSSLROOTCERT={authorities}"]
    return [
        f"PGHOST={place.address}",
        f"PGPORT={place.port}",
        "PGUSER=postgres",
        f"PGPASSWORD={secrets['postgres']}",
        *verified,
        f"DATABASE_URL='{server_urls.owner_url(topology, secrets, authorities)}'",
    ]

"""Django's PostgreSQL backend with two differences: no connection while the leader is away, and no dead one is used.

Django opens a connection in many places, also on the way out of a transaction whose connection was lost. Each would wait for
the connect timeout, one after another, while a client waits for an answer that is known already. And Django keeps a connection
that the server, PgBouncer or a firewall closed while it was idle: the next write would be a 503. The name of this module is
Django's: it looks for a backend's `base`.
"""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base

from matinee.storage.leader_state import leader
from matinee.storage.postgres import has_ended


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the leader. `holds_session`: it holds a lock of its session, so another one cannot take its place."""

    holds_session = False

    def ensure_connection(self) -> None:
        """Open a connection when there is none, or the server has closed it. Never inside a transaction."""
        link = self.connection
        if link is not None and not self.in_atomic_block and not self.holds_session and has_ended(link):
            self.close()
        super().ensure_connection()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Open a connection. Raises: OperationalError at once while the leader is away."""
        if leader.away:
            raise OperationalError(f"the leader is away: {leader.away}")
        return super().get_new_connection(conn_params)

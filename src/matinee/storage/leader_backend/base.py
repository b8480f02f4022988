"""Django's PostgreSQL backend, but for one thing: while the leader is known to be away, no connection to it is tried.

Django opens a connection in many places, also on the way out of a transaction whose connection was lost. Each would wait for
the time-out of connecting, one after another, while somebody waits for an answer that is known already. The name of this
module is Django's: it looks for a backend's `base`.
"""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base

from matinee.storage.leader_state import leader


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the leader."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Open a connection. Raises: OperationalError at once while the leader is away."""
        if leader.away:
            raise OperationalError(f"the leader is away: {leader.away}")
        return super().get_new_connection(conn_params)

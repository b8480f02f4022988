"""An instance of PostgreSQL as a node of a cluster: its role, and whether it is whole. Called by cluster.py and the commands.

What runs the instance is postgres.py, or patroni.py with high availability.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matinee.ops.postgres import PostgresNode
from matinee.ops.processes import Started


@dataclass
class DatabaseNode:
    """An instance of PostgreSQL with its role in the cluster. One that is not `is_made` holds half of something."""

    postgres: PostgresNode
    role: str
    is_made: bool = True

    @property
    def name(self) -> str:
        """Return the node's name."""
        return self.postgres.name

    @property
    def port(self) -> int:
        """Return the port that the instance listens on."""
        return self.postgres.port

    @property
    def process(self) -> Started | None:
        """Return the process that runs."""
        return self.postgres.process

    @property
    def log(self) -> Path:
        """Return the instance's log."""
        return self.postgres.log

    @property
    def address(self) -> str:
        """Return where the instance listens."""
        return f"127.0.0.1:{self.port}"

    def start(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start the instance; `keep` is called when it is a process. Raises: OperatorError."""
        self.postgres.start(keep)

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.postgres.state()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the instance and its sessions."""
        self.postgres.send(number)

    def end(self) -> None:
        """End the instance."""
        self.postgres.end()

"""One server of the service as a node of a cluster: a command that listens on a port. Called by cluster.py.

What the server is told stands in its environment and comes from the caller: this room knows no setting by name.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.errors import OperatorError
from matinee.ops.processes import Started, happens, require_free, start, tail

READY_WITHIN_S = 60.0
END_WITHIN_S = 35.0  # longer than the server gives its own workers to finish what they have
ASK_WITHIN_S = 2.0


@dataclass
class ServerNode:
    """A server of ours: its command, the environment that it was started with, and the process that runs it."""

    name: str
    port: int
    log: Path
    command: list[str]
    environment: dict[str, str]
    process: Started | None = None
    role: str = "server"
    ops_port: int = 0  # of the health listener; 0 for a server that an earlier version has started

    @property
    def address(self) -> str:
        """Return the server's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ports(self) -> dict[str, int]:
        """Return the ports that the server listens on, as the topology names them."""
        return {"port": self.port, "ops_port": self.ops_port} if self.ops_port else {"port": self.port}

    @property
    def ops_address(self) -> str:
        """Return the URL at which the server answers operators."""
        return f"http://127.0.0.1:{self.ops_port or self.port}"

    def start(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start the server and wait until it is ready; `keep` is called when it is a process. Raises: OperatorError."""
        require_free(self.name, self.port)
        self.process = process = start(self.command, self.log, os.environ | self.environment)
        keep()
        if not happens(lambda: self.is_ready() or process.state() == "dead", READY_WITHIN_S) or process.state() == "dead":
            raise OperatorError(f"{self.name} is not ready{self._reason()}; the end of {self.log}:\n{tail(self.log)}")

    def is_ready(self) -> bool:
        """Return whether requests may come; a server that does without something, such as a follower, is ready too."""
        said = _readyz(self.port)  # as the balancer asks: of the listener that requests come to
        return said is not None and said.get("status") != "not ready"

    def readiness(self) -> dict[str, Any] | None:
        """Return what the server tells operators at /readyz, ready or not; None when it does not answer in time."""
        return _readyz(self.ops_port or self.port)

    def _reason(self) -> str:
        said = self.readiness() or {}
        return f" ({said['reason']})" if said.get("reason") else ""

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.process.state() if self.process else "dead"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and its workers."""
        if self.process is not None:
            self.process.send(number)

    def end(self, *, is_drained: bool = False) -> None:
        """End the server; it finishes what it has. One that gets no requests any more need not wait until that is seen."""
        if self.process is not None:
            if is_drained:
                self.process.tell(signal.SIGTERM)
                happens(lambda: not self.is_ready(), ASK_WITHIN_S)  # the first signal has come: the next one is the second
            self.process.end(within_s=END_WITHIN_S)


def _readyz(port: int) -> dict[str, Any] | None:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_WITHIN_S)) as connection:
            connection.request("GET", "/readyz")
            said = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return said if isinstance(said, dict) else None

"""One PostgreSQL instance under Patroni, which decides with the others who leads. Called by cluster.py.

Patroni runs PostgreSQL as a process that outlives it: a node is both, and whoever kills the node kills both.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from matinee.errors import OperatorError
from matinee.ops.layout import Tls
from matinee.ops.postgres import PostgresNode, environment, reachable, server_user
from matinee.ops.processes import Started, happens, require_free, run, start, started_at, tail
from matinee.ops.tls_clients import client_context

OLDEST_VERSION = 4
REST_USER = "patroni"  # may change something over the REST API
READY_WITHIN_S = 60.0  # a follower is copied from the leader first
END_WITHIN_S = 40.0
ASK_WITHIN_S = 1.0
SWITCH_WITHIN_S = 30.0
CANDIDATE_WITHIN_S = 10.0


@dataclass
class PatroniNode(PostgresNode):
    """An instance that Patroni makes, starts, follows and promotes.

    `tls` is its certificate, which Patroni also asks of who asks it; None without TLS. `secrets` holds passwords by role.
    """

    rest_port: int = 0
    config: Path = field(default_factory=Path)
    secrets: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    tls: Tls | None = None

    @property
    def log(self) -> Path:
        """Return the log of Patroni and its PostgreSQL."""
        return self.folder / "patroni.log"

    def start(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start Patroni and wait until its PostgreSQL runs; `keep` is called when it is a process. Raises: OperatorError."""
        self.launch(keep)
        self.wait()

    def launch(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start Patroni without waiting for it."""
        require_free(self.name, self.rest_port)
        self.make_folder()
        told = {f"PATRONI_{role}_PASSWORD": password for role, password in self.secrets.items()}
        if "RESTAPI" in self.secrets:
            told["PATRONI_RESTAPI_USERNAME"] = REST_USER
        self.process = start(self.command, self.log, environment(**told, HOME=str(self.folder)), server_user())
        keep()

    def wait(self) -> None:
        """Wait until PostgreSQL runs and this node leads or follows. Raises: OperatorError with the end of the log."""
        happens(lambda: self.is_settled() or self.process_state() == "dead", READY_WITHIN_S)
        if not self.is_settled():
            raise OperatorError(f"Patroni {self.name} did not get PostgreSQL to run; the end of {self.log}:\n{tail(self.log)}")

    def is_settled(self) -> bool:
        """Return whether the node leads, or follows and receives what the leader writes."""
        return self.leads() or self.asked("/replica?replication_state=streaming") == http.client.OK

    def leads(self) -> bool:
        """Return whether the node holds the leader's lock, as Patroni says."""
        return self.asked("/primary") == http.client.OK

    def asked(self, path: str, method: str = "GET", body: Any = None, within_s: float = ASK_WITHIN_S) -> int:
        """Return the status of Patroni's answer; 0 is none in time."""
        return self.answer(path, method, body, within_s)[0]

    def answer(self, path: str, method: str = "GET", body: Any = None, within_s: float = ASK_WITHIN_S) -> tuple[int, str]:
        """Return the status and text of Patroni's answer; 0 is none in time."""
        try:
            with closing(self._connection(within_s)) as connection:
                connection.request(method, path, json.dumps(body) if body is not None else None, self._authorization)
                answer = connection.getresponse()
                return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return 0, ""

    def _connection(self, within_s: float) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=within_s)
        return http.client.HTTPSConnection("127.0.0.1", self.rest_port, timeout=within_s, context=client_context(self.tls))

    @property
    def _authorization(self) -> dict[str, str]:
        password = self.secrets.get("RESTAPI")
        if password is None:
            return {}
        return {"Authorization": f"Basic {b64encode(f'{REST_USER}:{password}'.encode()).decode()}"}

    def switch_to(self, candidate: str | None, leader: str) -> None:
        """Let another node lead from now on, a named one or the best. Raises: OperatorError with Patroni's words."""
        body = {"leader": leader} | ({"candidate": candidate} if candidate else {})
        status, said = 0, ""

        def is_done() -> bool:
            nonlocal status, said
            status, said = self.answer("/switchover", "POST", body, SWITCH_WITHIN_S)
            return status != http.client.PRECONDITION_FAILED

        # A node that has just come back may lead only when commits are waited for on it too, a few seconds later.
        happens(is_done, CANDIDATE_WITHIN_S)
        if status != http.client.OK:
            raise OperatorError(f"Patroni refuses the switchover: {said.strip() or 'it does not answer'}")

    def process_state(self) -> str:
        """Return the state of Patroni itself."""
        return self.process.state() if self.process else "dead"

    def state(self) -> str:
        """Return "running", "stopped" or "dead"; what is left of a node, without Patroni or PostgreSQL, runs still."""
        states = [found.state() for found in (self.process, self.postmaster()) if found is not None]
        return next((state for state in ("stopped", "running") if state in states), "dead")

    def postmaster(self) -> Started | None:
        """Return PostgreSQL's first process; None when none runs in the node's folder."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
            is_ours = str(self.data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return started_at(pid) if is_ours else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to Patroni and to PostgreSQL with all its sessions."""
        # Found before Patroni is signalled, but told after it: it would start a PostgreSQL that is gone anew.
        postmaster = self.postmaster()
        for found in (self.process, postmaster):
            if found is not None:
                found.send(number)

    def end(self) -> None:
        """End the node; Patroni ends its PostgreSQL."""
        self.send(signal.SIGCONT)
        if self.process is not None:
            self.process.end(within_s=END_WITHIN_S)
        if (left := self.postmaster()) is not None:
            left.end(signal.SIGINT)


@cache  # to ask for a version takes a second of the processor
def program() -> list[str]:
    """Return the command that runs Patroni. Raises: OperatorError when PostgreSQL's user reaches none that is new enough."""
    wished = (shutil.which("patroni"), "/opt/matinee/patroni/bin/patroni", f"{sys.prefix}/patroni/bin/patroni")
    for found in wished:
        if found and os.access(found, os.X_OK) and _is_reachable(Path(found)) and _version(found) >= OLDEST_VERSION:
            return [found]
    raise OperatorError(
        f"Patroni {OLDEST_VERSION} or newer is not installed where PostgreSQL's user can run it (Debian 12 has an older one). "
        "Type: scripts/install-patroni"
    )


def _is_reachable(path: Path) -> bool:
    """Return whether PostgreSQL's user gets to a program and to the Python that runs it."""
    python = path.with_name("python")
    return reachable(path) and (not python.exists() or reachable(python.resolve()))


def _version(found: str) -> int:
    try:
        said = run([found, "--version"], within_s=20)
    except OperatorError:
        return 0
    number = re.search(r"(\d+)\.", said)
    return int(number[1]) if number else 0

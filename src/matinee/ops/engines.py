"""One engine of a cluster on loopback, run from its rendered file: HAProxy, nginx, Redis, Sentinel, etcd. Called by cluster.py.

PostgreSQL has modules of its own (postgres.py, patroni.py), because it holds what must not be lost.
"""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from matinee import private_files
from matinee.errors import OperatorError
from matinee.ops import haproxy_socket
from matinee.ops.layout import Tls
from matinee.ops.processes import Started, happens, require_free, start, tail
from matinee.ops.tls_clients import client_context
from matinee.ops.topology import Place

READY_WITHIN_S = 20.0
END_WITHIN_S = 10.0
ASK_WITHIN_S = 1.0
# Each engine's program, and Debian's package of it.
_PROGRAMS = {
    "haproxy": "haproxy",
    "nginx": "nginx",
    "redis-server": "redis-server",
    "etcd": "etcd-server",
}


@dataclass
class EngineNode:
    """An engine with its place in the cluster, the command that runs it, and the process that does.

    `socket` and `state_file` are HAProxy's: a reload passes the states of the servers from the old process to the new one.
    `tls` is the certificate that it is reached with, None without TLS; `login` is the user and password of Redis.
    """

    place: Place
    command: list[str]
    log: Path
    process: Started | None = None
    socket: Path | None = None
    state_file: Path | None = None
    tls: Tls | None = None
    login: str = ""

    @property
    def name(self) -> str:
        """Return the node's name."""
        return self.place.name

    @property
    def role(self) -> str:
        """Return what the node is for."""
        return self.place.role

    @property
    def port(self) -> int:
        """Return the port of its main business."""
        return self.place.port

    @property
    def ports(self) -> list[int]:
        """Return all ports that it listens on."""
        return list(self.place.ports.values())

    @property
    def address(self) -> str:
        """Return where the engine is reached."""
        return f"http://{self.place.at}" if self.role == "balancer" else self.place.at

    def start(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start the engine and wait until it answers; `keep` is called when it is a process. Raises: OperatorError."""
        self.launch(keep)
        self.wait()

    def launch(self, keep: Callable[[], None] = lambda: None) -> None:
        """Start the engine without waiting for it: one that needs others, such as etcd, is ready only with them."""
        for port in self.ports:
            require_free(self.name, port)
        if self.state_file is not None:
            private_files.write(self.state_file, "1\n")  # no states: those of an earlier process are old
        self.process = start(self.command, self.log)
        keep()

    def wait(self) -> None:
        """Wait until the engine answers. Raises: OperatorError with the end of its log."""
        happens(lambda: self._is_up() or self.state() == "dead", READY_WITHIN_S)
        if self.state() == "dead" or not self._is_up():
            raise OperatorError(f"{self.name} is not ready; the end of {self.log}:\n{tail(self.log)}")

    def _is_up(self) -> bool:
        """Return whether the engine answers, and takes orders if it has a socket for them."""
        return self.is_ready() and (self._master is None or haproxy_socket.worker(self._master) != "")

    @property
    def _master(self) -> Path | None:
        """Return where HAProxy's master takes orders."""
        return Path(self.command[self.command.index(_MASTER) + 1]) if _MASTER in self.command else None

    def is_ready(self) -> bool:
        """Return whether the engine answers."""
        if self.role == "etcd":
            return self._says_health()
        if self.role in {"redis", "sentinel"}:
            return self.say(b"PING\r\n").startswith(b"+PONG")
        return self.say(b"") is not _SILENT

    def say(self, words: bytes) -> bytes:
        """Return what the engine answers to raw words on its port; nothing sent is a look whether it takes connections."""
        try:
            with socket.create_connection((self.place.address, self.port), ASK_WITHIN_S) as plain:
                if not words:
                    return b""
                connection = (
                    client_context(self.tls).wrap_socket(plain, server_hostname=self.place.address) if self.tls else plain
                )
                if self.login:
                    connection.sendall(f"AUTH {self.login}\r\n".encode())
                    connection.recv(4096)
                connection.sendall(words)
                return connection.recv(4096)
        except OSError:
            return _SILENT

    def _says_health(self) -> bool:
        where = self.place.address, self.port
        try:
            asked = (
                http.client.HTTPSConnection(*where, timeout=ASK_WITHIN_S, context=client_context(self.tls))
                if self.tls
                else http.client.HTTPConnection(*where, timeout=ASK_WITHIN_S)
            )
            with closing(asked) as connection:
                connection.request("GET", "/health")
                return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def reload(self) -> None:
        """Let the engine read its file again; the old process finishes its requests, and drained servers stay drained.

        Raises: OperatorError when HAProxy does not serve with the file in time.
        """
        if self.process is None or self.state() == "dead":
            return
        if self.socket is not None and self.state_file is not None and self.state() == "running":
            haproxy_socket.save_states(self.socket, self.state_file)
        if self._master is not None and self._master.exists():
            haproxy_socket.reload(self._master, READY_WITHIN_S)
            return
        # nginx, or a HAProxy that an earlier version of ours started. To the first process only: it starts the others again.
        self.process.tell(signal.SIGUSR2 if "haproxy" in self.command[0] else signal.SIGHUP)

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""
        return self.process.state() if self.process else "dead"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the engine and everything below it."""
        if self.process is not None:
            self.process.send(number)

    def end(self) -> None:
        """End the engine."""
        if self.process is not None:
            self.process.end(within_s=END_WITHIN_S)


_SILENT = b"\0"
_MASTER = "-S"  # HAProxy's option for the socket of its master process


def program(name: str) -> str:
    """Return the path of an engine's program. Raises: OperatorError that says what to install."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        raise OperatorError(f"{name} is not installed. On Debian: apt install {_PROGRAMS[name]}")
    return found


def command_of(role: str, balancer: str, config: Path, data: Path, master: Path) -> list[str]:
    """Return what runs a node of a role from its rendered file; `master` is where HAProxy takes the order to reload.

    Raises: OperatorError when the engine is not installed.
    """
    if role == "front" or (role == "balancer" and balancer == "haproxy"):
        # With a master process, so that a reload leaves no connection and no request behind.
        return [program("haproxy"), "-W", "-db", "-f", str(config), _MASTER, str(master)]
    commands: dict[str, Sequence[str]] = {
        "balancer": ("nginx", "-c", str(config), "-p", str(data), "-g", "daemon off;"),
        "redis": ("redis-server", str(config)),
        "sentinel": ("redis-server", str(config), "--sentinel"),
        "etcd": ("etcd", "--config-file", str(config)),
    }
    name, *words = commands[role]
    return [program(name), *words]

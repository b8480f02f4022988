"""HAProxy's command sockets: send an order, save the servers' states before a reload, which would forget them, and reload.

The worker's socket takes orders about servers; the master's socket takes the order to reload. A signal would do the same, but
the master loses one that arrives while it executes itself again, which it does after each start and after each reload.
Called by balancing.py and engines.py. It must never start or signal a process.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from matinee import private_files
from matinee.errors import OperatorError
from matinee.ops.processes import happens

_ANSWERS_WITHIN_S = 2.0
_WORKER = re.compile(r"\d+\s+worker\s")


def ask(path: Path, order: str) -> str:
    """Return HAProxy's answer to an order. Raises: OperatorError when none comes."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWERS_WITHIN_S)
            connection.connect(str(path))
            connection.sendall(order.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)  # the master would wait for another order
            pieces = list(iter(lambda: connection.recv(65_536), b""))
    except OSError as error:
        raise OperatorError(f"The balancer takes no orders at {path} ({error.strerror or error}).") from error
    return b"".join(pieces).decode().strip()


def save_states(path: Path, state_file: Path) -> None:
    """Write the file from which a reloaded HAProxy takes drains, weights and health. Raises: OperatorError, OSError."""
    states = ask(path, "show servers state")
    draft = state_file.with_name(f".{state_file.name}.{os.getpid()}")
    private_files.write(draft, states + "\n\n")
    draft.replace(state_file)


def worker(master: Path) -> str:
    """Return the process id of the newest worker; empty while the master takes no orders."""
    with suppress(OperatorError):
        lines = ask(master, "show proc").splitlines()
        return next((line.split()[0] for line in lines if _WORKER.match(line)), "")
    return ""


def reload(master: Path, within_s: float) -> None:
    """Have HAProxy read its file again, and return when a new worker serves. Raises: OperatorError.

    It ends the connection in place of an answer; from version 2.7 on it answers whether the file was good.
    """
    if not happens(lambda: worker(master) != "", within_s):
        raise OperatorError(f"The balancer takes no orders at {master}; see its log.")
    before = worker(master)
    said = ""
    with suppress(OperatorError):  # the master may end the connection early; whether there is a new worker decides
        said = ask(master, "reload")
    if "Success=0" in said or not happens(lambda: worker(master) not in {"", before}, within_s):
        raise OperatorError("HAProxy did not reload, and continues with its file from before; see its log.")

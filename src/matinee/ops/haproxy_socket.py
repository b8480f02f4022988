"""HAProxy's command socket: send an order, and save the servers' states before a reload, which would forget them.

Called by balancing.py and engines.py. It must never start or signal a process.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from matinee.errors import OperatorError

_ANSWERS_WITHIN_S = 2.0


def ask(path: Path, order: str) -> str:
    """Return HAProxy's answer to an order. Raises: OperatorError when none comes."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWERS_WITHIN_S)
            connection.connect(str(path))
            connection.sendall(order.encode() + b"\n")
            pieces = list(iter(lambda: connection.recv(65_536), b""))
    except OSError as error:
        raise OperatorError(f"The balancer takes no orders at {path} ({error.strerror or error}).") from error
    return b"".join(pieces).decode().strip()


def save_states(path: Path, state_file: Path) -> None:
    """Write the file from which a reloaded HAProxy takes drains, weights and health. Raises: OperatorError, OSError."""
    states = ask(path, "show servers state")
    draft = state_file.with_name(f".{state_file.name}.{os.getpid()}")
    draft.write_text(states + "\n\n")
    draft.replace(state_file)

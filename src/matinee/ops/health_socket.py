"""Open the socket that the workers answer health checks on. Called by cli; passed to server.py.

The parent process opens it once and every worker inherits it: an address in use is found before anything starts, and any worker
that still accepts answers a check.
"""

from __future__ import annotations

import socket

from matinee.errors import PortTaken

_AUTO_HOST, _AUTO_OFFSET = "127.0.0.1", 1000  # not 1: the next port is where people start a second server
_QUEUE = 64


def health_address(setting: str, port: int) -> tuple[str, int]:
    """Return the address that MATINEE_OPS_ADDRESS stands for, next to the service's port."""
    if setting == "auto":
        return _AUTO_HOST, port + _AUTO_OFFSET if port + _AUTO_OFFSET <= 65_535 else port - _AUTO_OFFSET
    host, _, own_port = setting.rpartition(":")
    return host.strip("[]"), int(own_port)


def open_health_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raises: PortTaken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_QUEUE)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"{host}:{port} cannot be listened on for health checks ({error.strerror}). "
            "Choose another address with MATINEE_OPS_ADDRESS=ADDRESS:PORT, or none with MATINEE_OPS_ADDRESS=off."
        ) from error
    return listener

"""A real redis-server of the bench's own on a free loopback port, ended by its own id. For hot_path.py and shared_tier.py."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.servers import free_port, pin

_START_S = 10.0


@contextmanager
def redis_server(*, core: int, most_mib: int = 512, more: Sequence[str] = ()) -> Iterator[str]:
    """Run a Redis that writes nothing to disk, until the block ends; give its address. `more` are further options."""
    port = free_port()
    bounds = ["--maxmemory", f"{most_mib}mb", "--maxmemory-policy", "allkeys-lfu", "--lfu-decay-time", "10"]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *bounds, *more]
    with tempfile.TemporaryDirectory(prefix="matinee-bench-redis-") as folder:
        started = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            preexec_fn=pin(core),  # noqa: PLW1509  this process has no threads
        )
        try:
            _wait_until_ready(started, port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            started.terminate()
            started.wait()


def _wait_until_ready(started: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while started.poll() is None and time.monotonic() < deadline_s:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7) == b"+PONG\r\n":
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"redis-server does not answer on port {port}")

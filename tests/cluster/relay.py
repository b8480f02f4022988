"""A relay to a server on loopback, which can make it half-open: connections stay up, new ones are taken, nothing goes through.

Or it makes the server slow: what it answers arrives late. Run by test_faults.py and test_rows_databases.py between servers and
a follower: `python relay.py LISTENER PORT LATE_S MARK`, a process of its own, so that it never waits for the load. Peers may
vanish at any time: that ends their connection, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_AT_ONCE_BYTES = 65_536
_SO_MARK = 36  # Linux; Python has no name for it before 3.13


@dataclass(frozen=True)
class Relay:
    """A port that leads to another one."""

    port: int
    process: subprocess.Popen[bytes]

    def hold(self) -> None:
        """Forward nothing from now on, not even that a peer is gone; the kernel still takes connections and what is sent."""
        from tests.processes import freeze  # the process itself is run from this file alone, and finds no other

        freeze(self.process.pid)

    def go_on(self) -> None:
        """Forward what was held back, and what follows."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def start_relay(target_port: int, late_s: float = 0.0, mark: int = 0) -> Iterator[Relay]:
    """Start a relay to a port and end it afterwards; its own packets carry the mark, for rules that are not to meet them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, __file__, *map(str, (listener.fileno(), target_port, late_s, mark))]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
        port = listener.getsockname()[1]
    try:
        yield Relay(port, process)
    finally:
        process.kill()
        process.wait()


async def _serve(listener: socket.socket, target_port: int, late_s: float, mark: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            target_reader, target_writer = await asyncio.open_connection(sock=await _connected(target_port, mark))
            with contextlib.closing(target_writer):
                await asyncio.gather(_forward(reader, target_writer, 0.0), _forward(target_reader, writer, late_s))

    server = await asyncio.start_server(connect, sock=listener)
    await server.serve_forever()


async def _connected(port: int, mark: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    if mark:
        connection.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, late_s: float) -> None:
    """Forward what comes from one side until its end, which is forwarded as well."""
    with contextlib.suppress(OSError):
        while piece := await source.read(_AT_ONCE_BYTES):
            await asyncio.sleep(late_s)
            sink.write(piece)
            await sink.drain()
    sink.close()


if __name__ == "__main__":
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))

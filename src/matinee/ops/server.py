"""Run the server's processes: Granian with one worker or several, counted together, ended without losing a request.

Called by cli. The application is named by a string and imported by the workers only.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from granian._internal import load_target
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from matinee import addresses
from matinee.ops import run_folder

_COUNTS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_WATCH_INTERVAL_S = 0.1
KILL_TIMEOUT_S = 30  # a worker that has not finished its requests by then is killed
MAX_HEADER_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1  # Linux's prctl: signal me when my parent is gone


@dataclass(frozen=True)
class ServerOptions:
    """Where and how the server listens; `host` is an IP address, as addresses.listening_address returns it."""

    target: str
    host: str
    port: int
    workers: int
    drain_s: int
    drain_variable: str
    run_folder: Path  # where the files of one run lie; made if missing


class DrainingServer(MPServer):
    """A Granian whose first SIGTERM makes it unready, and which stops accepting only when balancers have seen that."""

    drain_file: Path
    drain_s: int

    def _respawn_workers(self, workers: list[int], *args: Any, **kwargs: Any) -> None:
        """Start other workers in the place of some; what the old ones showed of themselves alone is not shown any more."""
        if _COUNTS_VARIABLE in os.environ:
            from prometheus_client.multiprocess import mark_process_dead  # reads the variable when it is imported

            for worker in workers:
                mark_process_dead(self.wrks[worker].inner.pid)  # type: ignore[no-untyped-call]
        super()._respawn_workers(workers, *args, **kwargs)

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """Say "not ready", wait, then end; a second signal ends at once."""
        if self.drain_file.exists() or not self.drain_s:
            super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]
            return
        self.drain_file.touch()
        timer = threading.Timer(self.drain_s, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


def _load_in_worker(parent_pid: int, target: str) -> Any:
    """Import the application in a worker, which has first been tied to its parent.

    A terminal's Ctrl-C and `timeout` signal the whole group of processes; the workers are to end only when the parent says so,
    after the draining. And if the parent is killed with -9, nobody would ever end them.
    """
    os.setpgid(0, 0)
    # What the parent does on a signal came along with the fork; until Granian's worker has its own way, a signal just ends it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # SIGKILL: a worker that is still starting would lose a politer signal, and its requests have nobody to drain them.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # The parent was gone before the kernel was told to tell of it.
        sys.exit("The server was killed while this worker started.")
    return load_target(target, factory=True)


def _watch(options: ServerOptions, when_live: Callable[[], None]) -> None:
    address = (addresses.reachable(options.host), options.port)
    while True:
        try:
            with closing(http.client.HTTPConnection(*address, timeout=2)) as connection:
                connection.request("GET", "/livez")
                if connection.getresponse().status == HTTPStatus.OK:
                    when_live()
                    return
        except OSError:
            time.sleep(_WATCH_INTERVAL_S)


def serve(options: ServerOptions, when_live: Callable[[], None]) -> None:
    """Serve until a signal ends it; returns when every worker has finished what it had.

    `when_live` is called once, when the first request is answered: a worker that cannot start must not be announced.
    """
    folder = run_folder.make(options.run_folder)
    os.environ[options.drain_variable] = str(folder / "draining")
    if options.workers > 1:
        # Set before any worker imports the metrics; in one process the counters stay in memory.
        os.environ[_COUNTS_VARIABLE] = str(folder)
    server = DrainingServer(
        options.target,
        address=options.host,
        port=options.port,
        interface=Interfaces.ASGI,
        workers=options.workers,
        loop=Loops.uvloop,
        factory=True,
        log_level=LogLevels.warning,
        http1_settings=HTTP1Settings(max_buffer_size=MAX_HEADER_BYTES + 8192),
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_TIMEOUT_S,
    )
    server.drain_file = folder / "draining"
    server.drain_s = options.drain_s
    threading.Thread(target=_watch, args=(options, when_live), daemon=True).start()
    try:
        server.serve(target_loader=partial(_load_in_worker, os.getpid()))
    finally:
        run_folder.remove(folder)

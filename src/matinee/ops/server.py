"""Run the server's processes: Granian with one worker or several, counted together, ended without losing a request.

Called by cli. The application is named by a string and imported by the workers only. SIGHUP opens the logs of all processes
again and interrupts nothing.
"""

from __future__ import annotations

import ctypes
import http.client
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from granian._internal import load_target
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from matinee import addresses
from matinee.ops import run_folder

_COUNTS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_WATCH_INTERVAL_S, _LOOK_INTERVAL_S = 0.1, 0.01
KILL_TIMEOUT_S = 30  # a worker that has not finished its requests by then is killed
MAX_HEADER_BYTES = 64 * 1024
_ACCEPT_QUEUE = 4096  # connections that the kernel holds until a worker accepts them; net.core.somaxconn is the upper bound
_HTTP2 = HTTP2Settings(
    # Answers wait in memory while a client keeps its window closed: streams x answer bounds them for each connection.
    max_concurrent_streams=16,
    max_send_buffer_size=64 * 1024,
    initial_connection_window_size=256 * 1024,
    initial_stream_window_size=64 * 1024,
    max_headers_size=MAX_HEADER_BYTES,
    keep_alive_interval=20_000,
    keep_alive_timeout=10,
)
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
    run_folder: Path  # holds the files of one run; made if missing
    log_config: dict[str, Any]  # of Granian's loggers, for Python's dictConfig
    reopen_log: Callable[[], None]
    connections: int  # of each worker
    idle_timeout_s: int
    http2: bool = False
    health: socket.socket | None = None  # a listening socket that every worker answers health checks on
    health_variable: str = ""


class DrainingServer(MPServer):
    """A Granian whose first SIGTERM makes it unready, and which stops accepting only when balancers have seen that."""

    drain_file: Path
    drain_s: int
    reopen_log: Callable[[], None]

    def _respawn_workers(self, workers: list[int], *args: Any, **kwargs: Any) -> None:
        """Start other workers in the place of some; what the old ones showed of themselves alone is not shown any more."""
        if _COUNTS_VARIABLE in os.environ:
            from prometheus_client.multiprocess import mark_process_dead  # reads the variable when it is imported

            for worker in workers:
                mark_process_dead(self.wrks[worker].inner.pid)  # type: ignore[no-untyped-call]
        super()._respawn_workers(workers, *args, **kwargs)

    def _stop_workers(self) -> None:
        """End the workers, and kill those that have not ended in time.

        A process closes its pipes some moments before it is gone. Granian, which watches a pipe, would then log that it kills a
        worker that has ended by itself.
        """
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
        ends_s = time.monotonic() + KILL_TIMEOUT_S
        while time.monotonic() < ends_s and any(worker.is_alive() for worker in self.wrks):  # type: ignore[no-untyped-call]
            time.sleep(_LOOK_INTERVAL_S)
        self.workers_kill_timeout = 1  # what lives now has had its time
        super()._stop_workers()  # type: ignore[no-untyped-call]

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """Say "not ready", wait, then end; a second signal ends at once."""
        if self.drain_file.exists() or not self.drain_s:
            super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]
            return
        self.drain_file.touch()
        timer = threading.Timer(self.drain_s, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()

    def signal_handler_reload(self, *_: Any, **__: Any) -> None:
        """Open the log again, here and in the workers: Granian would replace all workers, and logrotate sends SIGHUP daily."""
        self.reopen_log()
        if os.getpid() != self.pid:
            return  # a worker that was forked a moment ago still has its parent's handler
        for worker in self.wrks:
            if worker.is_alive():  # type: ignore[no-untyped-call]
                with suppress(ProcessLookupError):
                    os.kill(worker.inner.pid, signal.SIGHUP)


def _run_worker(spawned: Callable[..., None], *args: Any) -> None:
    """Run a worker to its end; what ends it early is one event of the log, not a plain traceback on the error stream."""
    try:
        spawned(*args)
    except Exception as error:
        logging.getLogger("matinee.server").critical("a worker cannot go on", exc_info=error)
        sys.exit(1)


def _load_in_worker(
    parent_pid: int, reopen_log: Callable[[], None], health: tuple[str, socket.socket] | None, target: str
) -> Any:
    """Import the application in a worker, which has first been tied to its parent.

    A terminal's Ctrl-C and `timeout` signal the whole group of processes; the workers are to end only when the parent says so,
    after the draining. And if the parent is killed with -9, nobody would ever end them.
    """
    os.setpgid(0, 0)
    # What the parent does on a signal came along with the fork; until Granian's worker has its own way, a signal just ends it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, lambda *_: reopen_log())
    # SIGKILL: a worker that is still starting would lose a politer signal, and its requests have nobody to drain them.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # The parent was gone before the kernel was told to tell of it.
        logging.getLogger("matinee.server").error("the server was killed while this worker started")
        sys.exit(1)
    if health is not None:
        variable, listener = health
        os.environ[variable] = str(listener.fileno())
    return load_target(target, factory=True)


def raise_file_limit() -> int:
    """Raise this process's limit of open files to the hard limit, and return it; each connection is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


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
    raise_file_limit()
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
        log_dictconfig=options.log_config,
        http=HTTPModes.auto if options.http2 else HTTPModes.http1,
        websockets=False,
        backlog=_ACCEPT_QUEUE,
        # Beyond this a worker accepts nothing: the connection guard of the workers keeps below it.
        backpressure=options.connections,
        # One timer covers the wait for a request and its head; the connection guard cuts slow heads sooner.
        http1_settings=HTTP1Settings(
            header_read_timeout=options.idle_timeout_s * 1000, max_buffer_size=MAX_HEADER_BYTES + 8192
        ),
        http2_settings=_HTTP2,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_TIMEOUT_S,
    )
    server.drain_file = folder / "draining"
    server.drain_s = options.drain_s
    server.reopen_log = options.reopen_log
    threading.Thread(target=_watch, args=(options, when_live), daemon=True).start()
    try:
        health = (options.health_variable, options.health) if options.health else None
        server.serve(
            spawn_target=partial(_run_worker, server._spawn_asgi_lifespan_worker),  # noqa: SLF001  what Granian itself passes
            target_loader=partial(_load_in_worker, os.getpid(), options.reopen_log, health),
        )
    finally:
        run_folder.remove(folder)

"""Who is measured by read_path.py, hot_path.py and followers.py: how each is started, and with what environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.servers import Process, free_port, serving

_GRANIAN = (
    "-m granian --interface asgi --factory {app} --workers 1 --loop uvloop --host 127.0.0.1 --port {port} --log-level warning"
)
_GUNICORN = "-m gunicorn --workers 1 --worker-class gthread --threads 2 --bind 127.0.0.1:{port} --log-level warning {app}"


@dataclass(frozen=True)
class Contestant:
    """One way of answering GET /v1/movies/{id}."""

    name: str
    server: str
    app: str
    environ: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def serving(self, home: Path, *, ready_path: str, core: int, **more: str) -> Iterator[Process]:
        """Run it on the catalogue in a folder until the block ends; `more` is of its environment."""
        port = free_port()
        command = [sys.executable, *self.server.format(app=self.app, port=port).split(" ")]
        environ = {"MATINEE_HOME": str(home), **self.environ, **more}
        with serving(command, environ, port=port, ready_path=ready_path, core=core) as process:
            yield process


_OURS = "matinee.http.asgi:create_app"

_LOG = {"MATINEE_LOG_FILE": os.devnull, "LOG_FORMAT": "json"}  # a file gets JSON, as `matinee up` has it
_SILENT = {**_LOG, "MATINEE_ACCESS_LOG": "false"}
_UNCACHED = {"MATINEE_LOCAL_CACHE_BYTES": "0"}

OURS = Contestant("Matinee", _GRANIAN, _OURS, _LOG | _UNCACHED)
OURS_SILENT = Contestant("Matinee, access log off", _GRANIAN, _OURS, _SILENT | _UNCACHED)
BASELINE = Contestant("Django REST framework", _GUNICORN, "bench.baseline.wsgi:application")
STARLETTE = Contestant("bare Starlette", _GRANIAN, "bench.starlette_select:create_app")

STARLETTE_POSTGRES = Contestant(STARLETTE.name, _GRANIAN, "bench.starlette_postgres:create_app")

HOT = Contestant("Matinee, access log off", _GRANIAN, _OURS, _SILENT)
HOT_LOGGED = Contestant("Matinee, access log to a file", _GRANIAN, _OURS, _LOG)
HOT_UNCACHED = Contestant("Matinee, caches off", _GRANIAN, _OURS, _SILENT | _UNCACHED)
BARE_GRANIAN = Contestant("bare Granian", _GRANIAN, "bench.bare_granian:create_app")
CACHED_BASELINE = Contestant("Django REST framework with Redis", _GUNICORN, "bench.baseline.wsgi:application")


def contestants(*, on_postgres: bool) -> tuple[Contestant, ...]:
    """Return who takes part in the race of uncached reads; all of them work on the same catalogue."""
    return OURS, OURS_SILENT, BASELINE, STARLETTE_POSTGRES if on_postgres else STARLETTE

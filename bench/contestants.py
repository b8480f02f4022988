"""Who is measured by read_path.py and followers.py: how each is started, and what its process is told by its environment."""

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
    def serving(self, home: Path, *, ready_path: str, core: int) -> Iterator[Process]:
        """Run it on the catalogue in a folder until the block ends."""
        port = free_port()
        command = [sys.executable, *self.server.format(app=self.app, port=port).split(" ")]
        environ = {"MATINEE_HOME": str(home), **self.environ}
        with serving(command, environ, port=port, ready_path=ready_path, core=core) as process:
            yield process


_OURS = "matinee.http.asgi:create_app"

_LOG = {"MATINEE_LOG_FILE": os.devnull, "LOG_FORMAT": "json"}  # a file gets JSON, as `matinee up` has it

OURS = Contestant("Matinee", _GRANIAN, _OURS, _LOG)
OURS_SILENT = Contestant("Matinee, access log off", _GRANIAN, _OURS, {**_LOG, "MATINEE_ACCESS_LOG": "false"})
BASELINE = Contestant("Django REST framework", _GUNICORN, "bench.baseline.wsgi:application")
STARLETTE = Contestant("bare Starlette", _GRANIAN, "bench.starlette_select:create_app")

STARLETTE_POSTGRES = Contestant(STARLETTE.name, _GRANIAN, "bench.starlette_postgres:create_app")


def contestants(*, on_postgres: bool) -> tuple[Contestant, ...]:
    """Return who takes part; all of them work on the same catalogue."""
    return OURS, OURS_SILENT, BASELINE, STARLETTE_POSTGRES if on_postgres else STARLETTE

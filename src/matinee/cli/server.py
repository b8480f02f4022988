"""`up` and `serve`: from nothing to a running catalogue, and the running alone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from matinee import config as configuration
from matinee import logs
from matinee.cli.home import export_settings, open_catalogue, prepare_home, upgrade_catalogue
from matinee.cli.output import tell
from matinee.config import Config

_TARGET = "matinee.http.asgi:create_app"
_DRAIN_VARIABLE = "_MATINEE_DRAIN_FILE"

Host = Annotated[str | None, typer.Option(help="Address to listen on (MATINEE_HOST).")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (PORT).")]
Workers = Annotated[int | None, typer.Option(min=1, max=256, help="Server processes (WEB_CONCURRENCY).")]


def up(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    sample: Annotated[bool, typer.Option(help="Load the sample catalogue into an empty one.")] = True,
) -> None:
    """Make the catalogue if it is missing, load the sample, make an admin, and serve. Safe to run again."""
    from matinee.ops.server import require_port

    config = prepare_home(configuration.load(host=host, port=port, workers=workers))
    require_port(config.host, config.port)
    config, _ = upgrade_catalogue(config)
    from matinee.cli.catalogue import load_sample

    if sample:
        load_sample(config)
    _make_admin()
    config = _log_to_file(config)
    _run(config, lambda: _greet(config))


def serve(host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Serve the catalogue that is there; nothing is made, loaded or migrated."""
    from matinee.ops.server import require_port

    config = configuration.load(host=host, port=port, workers=workers)
    require_port(config.host, config.port)
    config = open_catalogue(config)
    announcement = f"Serving http://{config.host}:{config.port} with {config.workers} worker(s); Ctrl-C ends it."
    _run(config, lambda: _tell(config, announcement))


def _run(config: Config, when_live: Callable[[], None]) -> None:
    from django.db import connections

    from matinee.ops.server import ServerOptions
    from matinee.ops.server import serve as run

    logs.require_target(config)
    logs.setup(config)
    logs.take_over()
    connections.close_all()  # the workers open their own
    export_settings(config)
    run(
        ServerOptions(
            _TARGET, config.host, config.port, config.workers, config.drain_s, _DRAIN_VARIABLE, logs.GRANIAN, logs.reopen
        ),
        when_live,
    )
    _tell(config, "Ended.")


def _tell(config: Config, text: str) -> None:
    """Say how the server goes: as an event where the error stream carries a log of JSON, so that all its lines are JSON."""
    if config.log_file or logs.for_people(config):
        tell(text)
    else:
        logs.announce(text)


def _make_admin() -> None:
    from matinee.write import users

    if not users.admins_exist():
        password = users.create_admin("admin")
        tell(f"Admin made. Sign in once with name `admin` and password `{password}`; you then choose your own.")


def _log_to_file(config: Config) -> Config:
    """Return the settings with a log file in the data folder, unless they name another one."""
    if config.log_file:
        return config
    path = config.home / "logs" / "matinee.log"
    with suppress(OSError):  # files of an earlier version were readable by everybody
        path.parent.chmod(0o700)
        for file in path.parent.glob("matinee.log*"):
            file.chmod(0o600)
    os.environ["MATINEE_LOG_FILE"] = str(path)
    return dataclasses.replace(config, log_file=str(path))


def _greet(config: Config) -> None:
    base = config.public_url or f"http://{config.host}:{config.port}"
    lines = {
        "API": f"{base}/v1/movies",
        "Docs": f"{base}/docs",
        "Admin": f"{base}/admin/",
        "Data": str(config.home),
        "Log": config.log_file,
    }
    tell("Matinee is up. Ctrl-C ends it.")
    for name, value in lines.items():
        tell(f"  {name:<6} {value}")

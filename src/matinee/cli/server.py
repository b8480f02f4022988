"""`up` and `serve`: from nothing to a running catalogue, and the running alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from matinee import addresses, logs
from matinee import config as configuration
from matinee.cli.home import export_settings, open_catalogue, prepare_home, upgrade_catalogue
from matinee.cli.output import tell
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.injected_variables import injected

_TARGET = "matinee.http.asgi:create_app"
_DRAIN_VARIABLE = "_MATINEE_DRAIN_FILE"
_MAX_LOG_BYTES = 64 * 1024 * 1024

Host = Annotated[str | None, typer.Option(help="Address or host name to listen on (MATINEE_HOST).")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (PORT).")]
Workers = Annotated[int | None, typer.Option(min=1, max=256, help="Server processes (WEB_CONCURRENCY).")]


def up(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    sample: Annotated[bool, typer.Option(help="Load the sample catalogue into an empty one.")] = True,
) -> None:
    """Make the catalogue if it is missing, load the sample, make an admin, and serve. Safe to run again."""
    config = prepare_home(configuration.load(host=host, port=port, workers=workers))
    address = _address(config)
    config, _ = upgrade_catalogue(config)
    from matinee.cli.catalogue import load_sample

    if sample:
        load_sample(config)
    _make_admin()
    _log_to_file(config)
    _run(config, address, lambda: _greet(config))


def serve(host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Serve the catalogue that is there; nothing is made, loaded or migrated."""
    config = configuration.load(host=host, port=port, workers=workers)
    address = _address(config)
    config = open_catalogue(config)
    announcement = f"Serving {addresses.url(config.host, config.port)} with {config.workers} worker(s); Ctrl-C ends it."
    _run(config, address, lambda: tell(announcement))


def _address(config: Config) -> str:
    """Return the IP address to listen on. Raises: PortTaken."""
    address = addresses.listening_address(config.host, config.port)
    if addresses.is_only_loopback(config.host, address):
        tell(
            f"{config.host} is {address} here, which other machines cannot reach; set MATINEE_HOST to an address if they must."
        )
    if ignored := injected(os.environ):
        tell(f"Ignored: {len(ignored)} variables that Kubernetes or Docker injects for a service, such as {ignored[0]}.")
    return address


def _run(config: Config, address: str, when_live: Callable[[], None]) -> None:
    from django.db import connections

    from matinee.ops.server import ServerOptions
    from matinee.ops.server import serve as run

    logs.require_target(os.environ.get("MATINEE_LOG_FILE", ""))
    connections.close_all()  # the workers open their own
    export_settings(config)
    run_folder = config.home / "run"
    options = ServerOptions(_TARGET, address, config.port, config.workers, config.drain_s, _DRAIN_VARIABLE, run_folder)
    try:
        run(options, when_live)
    except SystemExit as error:
        raise OperatorError(f"The server ended because its workers do not start; the reason is in {_log(config)}.") from error
    tell("Ended.")


def _log(config: Config) -> str:
    path = os.environ.get("MATINEE_LOG_FILE") or config.log_file
    return f"{path} and the lines above" if path else "the lines above"


def _make_admin() -> None:
    from matinee.write import users

    if not users.admins_exist():
        password = users.create_admin("admin")
        tell(f"Admin made. Sign in once with name `admin` and password `{password}`; you then choose your own.")


def _log_to_file(config: Config) -> None:
    if config.log_file:
        return
    path = config.home / "logs" / "matinee.log"
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    os.environ["MATINEE_LOG_FILE"] = str(path)


def _greet(config: Config) -> None:
    base = config.public_url or addresses.url(config.host, config.port)
    lines = {
        "API": f"{base}/v1/movies",
        "Docs": f"{base}/docs",
        "Admin": f"{base}/admin/",
        "Data": str(config.home),
        "Log": os.environ.get("MATINEE_LOG_FILE", config.log_file),
    }
    tell("Matinee is up. Ctrl-C ends it.")
    for name, value in lines.items():
        tell(f"  {name:<6} {value}")

"""`up` and `serve`: from nothing to a running catalogue, and the running alone."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from matinee import addresses, logs
from matinee import config as configuration
from matinee.cli.home import export_settings, open_catalogue, prepare_home, upgrade_catalogue
from matinee.cli.output import tell
from matinee.config import Config
from matinee.errors import OperatorError, PortTaken
from matinee.injected_variables import injected

_TARGET = "matinee.http.asgi:create_app"
_DRAIN_VARIABLE = "_MATINEE_DRAIN_FILE"
_HEALTH_VARIABLE = "_MATINEE_OPS_SOCKET"

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
    health = _open_health(config)
    config, _ = upgrade_catalogue(config)
    from matinee.cli.catalogue import load_sample

    if sample:
        load_sample(config)
    _make_admin()
    config = _log_to_file(config)
    _run(config, address, health, lambda: _greet(config, health))


def serve(host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Serve the catalogue that is there; nothing is made, loaded or migrated."""
    config = configuration.load(host=host, port=port, workers=workers)
    address = _address(config)
    health = _open_health(config)
    config = open_catalogue(config)
    checks = f"; health checks at {_health_url(health)}" if health else ""
    announcement = f"Serving {addresses.url(config.host, config.port)} with {config.workers} worker(s){checks}. Ctrl-C ends it."
    _run(config, address, health, lambda: _tell(config, announcement))


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


def _open_health(config: Config) -> socket.socket | None:
    """Return the socket for health checks; None when there is none, because of the settings or because its port is in use."""
    from matinee.ops.health_socket import health_address, open_health_socket

    if config.ops_address == "off":
        return None
    try:
        return open_health_socket(*health_address(config.ops_address, config.port))
    except PortTaken as error:
        if config.ops_address != "auto":
            raise
        tell(f"/metrics and the details of /readyz are not served: {error}")
        return None


def _health_url(health: socket.socket) -> str:
    return addresses.url(*health.getsockname()[:2])


def _run(config: Config, address: str, health: socket.socket | None, when_live: Callable[[], None]) -> None:
    from django.db import connections

    from matinee.ops.server import ServerOptions
    from matinee.ops.server import serve as run

    logs.require_target(config)
    logs.setup(config)
    logs.take_over()
    connections.close_all()  # the workers open their own
    export_settings(config)
    options = ServerOptions(
        _TARGET,
        address,
        config.port,
        config.workers,
        config.drain_s,
        _DRAIN_VARIABLE,
        config.home / "run",
        logs.GRANIAN,
        logs.reopen,
        connections=config.connection_bound,
        idle_timeout_s=config.idle_timeout_s,
        http2=config.http2,
        health=health,
        health_variable=_HEALTH_VARIABLE,
    )
    try:
        run(options, when_live)
    except SystemExit as error:
        raise OperatorError(f"The server ended because its workers do not start; the reason is in {_log(config)}.") from error
    _tell(config, "Ended.")


def _tell(config: Config, text: str) -> None:
    """Say how the server goes: as an event where the error stream carries a log of JSON, so that all its lines are JSON."""
    if config.log_file or logs.for_people(config):
        tell(text)
    else:
        logs.announce(text)


def _log(config: Config) -> str:
    return f"{config.log_file} and the lines above" if config.log_file else "the lines above"


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


def _greet(config: Config, health: socket.socket | None) -> None:
    base = config.public_url or addresses.url(config.host, config.port)
    lines = {
        "API": f"{base}/v1/movies",
        "Docs": f"{base}/docs",
        "Admin": f"{base}/admin/",
        **({"Health": f"{_health_url(health)}/readyz"} if health else {}),
        "Data": str(config.home),
        "Log": config.log_file,
    }
    tell("Matinee is up. Ctrl-C ends it.")
    for name, value in lines.items():
        tell(f"  {name:<6} {value}")

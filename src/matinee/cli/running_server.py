"""Ask the server that runs: where it is, and one GET of it. Called by the commands that look at a server from outside."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Annotated, Any, NamedTuple

import typer

from matinee import addresses
from matinee import config as configuration
from matinee.cli.cluster_settings import running_server
from matinee.config import Config
from matinee.errors import OperatorError

Url = Annotated[str | None, typer.Option(help="The server's address; else that of the settings.")]
OpsUrl = Annotated[
    str | None, typer.Option("--url", help="The address of the server's MATINEE_OPS_ADDRESS; else that of the settings.")
]
_ANSWER_S = 5.0


class Reply(NamedTuple):
    """What a server answered, an error too; names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


def address_of(url: str | None, config: Config | None = None) -> str:
    """Return the URL of the server: the given one, else the one of the settings, else one of the running cluster.

    Raises: ConfigError; OperatorError when the cluster's state cannot be read.
    """
    if url:
        return url.rstrip("/")
    if (server := running_server(os.environ)) is not None:
        return server
    config = config or configuration.load()
    return config.public_url or addresses.url(addresses.reachable(config.host), config.port)


def ops_address_of(url: str | None, config: Config | None = None) -> str:
    """Return the URL at which a server answers operators: the given one, else of the running cluster, else of the settings.

    Raises: ConfigError; OperatorError when the cluster's state cannot be read.
    """
    if url:
        return url.rstrip("/")
    if (server := running_server(os.environ, for_operators=True)) is not None:
        return server
    config = config or configuration.load()
    if config.ops_address == "off":
        return addresses.url(addresses.reachable(config.host), config.port)
    from matinee.ops.health_socket import health_address

    host, port = health_address(config.ops_address, config.port)
    return addresses.url(addresses.reachable(host), port)


def ask(address: str, path: str, key: str = "") -> Reply:
    """Return a server's answer to one GET. Raises: OperatorError when none comes."""
    try:
        request = urllib.request.Request(address + path)  # noqa: S310  the operator's own server
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
            return _reply(answer)
    except urllib.error.HTTPError as error:
        return _reply(error)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OperatorError(f"No server answers at {address} ({error}); start one, or name it with --url URL.") from error


def _reply(answer: Any) -> Reply:
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


def ask_json(address: str, path: str, key: str = "") -> tuple[Reply, dict[str, Any]]:
    """Return a server's answer and the JSON object in it. Raises: OperatorError when it is none."""
    reply = ask(address, path, key)
    try:
        found = json.loads(reply.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OperatorError(f"What answers at {address} is no Matinee.")
    return reply, found


def refusal(address: str, reply: Reply, found: dict[str, Any]) -> OperatorError:
    """Return a server's error in its own words."""
    return OperatorError(f"{address} answers {reply.status}: {found.get('detail') or found.get('title') or 'no reason given'}")

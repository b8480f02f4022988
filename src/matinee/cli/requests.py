"""`get` and `openapi`: one request in this process, without a server."""

from __future__ import annotations

import asyncio
import dataclasses
import string
from typing import Annotated, Any
from urllib.parse import quote, unquote

import typer

from matinee.cli.home import open_catalogue

_AS_TYPED = string.punctuation  # blanks and letters beyond ASCII are encoded, what is encoded already stays as it is


def get(
    path: Annotated[str, typer.Argument(help="The path and query, as '/v1/movies?genre=Drama&limit=3'.")],
    headers: Annotated[bool, typer.Option("--headers", help="Print status and headers before the body.")] = False,
) -> None:
    """Answer one GET without a server; exit code 1 when it is an error."""
    config = open_catalogue(is_reading=True)
    from matinee.http.app import build

    front = build(dataclasses.replace(config, access_log=False))
    status, answered, body = asyncio.run(request(front, path))
    if headers:
        typer.echo(f"HTTP/1.1 {status}")
        for name, value in answered:
            typer.echo(f"{name.decode()}: {value.decode('latin-1')}")
        typer.echo()
    typer.echo(body.decode(errors="replace"))
    raise typer.Exit(1 if status >= 400 else 0)


async def request(front: Any, address: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of one GET of an application in this process."""
    from matinee.http.health import OPERATOR  # the command line starts without the service

    path, _, query = address.partition("?")
    path = path if path.startswith("/") else f"/{path}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path, errors="replace"),
        "raw_path": quote(path, safe=_AS_TYPED).encode(),
        "query_string": quote(query, safe=_AS_TYPED).encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
        OPERATOR: True,  # the owner of the data folder sees all of /readyz and /metrics
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await front(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], sent[0]["headers"], body


def openapi() -> None:
    """Print the OpenAPI document."""
    from matinee import config as configuration
    from matinee import runtime

    config = configuration.load()
    runtime.setup_django()
    import msgspec

    from matinee.http.app import api

    typer.echo(msgspec.json.format(msgspec.json.encode(api(config).state.openapi)).decode())

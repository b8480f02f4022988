"""A server with faults of every kind planted in it, for the tests of the log: run as `faulty_server.py serve --port N`.

Each path under /planted raises where nothing handles it: in a thread, in a task, in a finaliser, as a warning.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import structlog

from matinee.cli.main import main
from matinee.http import asgi
from matinee.read.catalogue import Catalogue

_create_app = asgi.create_app


class Finalised:
    """Raises when it is thrown away."""

    def __del__(self) -> None:
        raise ValueError("planted in a finaliser\nwith two lines")


def fail(*_: Any, **__: Any) -> Any:
    raise ValueError("planted\nwith two lines \u2028 and more")


async def fail_later() -> None:
    fail()


def in_a_task() -> None:
    """Let a task fail whose outcome nothing looks at."""
    asyncio.get_running_loop().create_task(fail_later())


FAULTS: dict[str, Callable[[], Any]] = {
    "/planted/thread": lambda: threading.Thread(target=fail).start(),
    "/planted/task": in_a_task,
    "/planted/callback": lambda: asyncio.get_running_loop().call_soon(fail),
    "/planted/finaliser": Finalised,
    "/planted/warning": lambda: warnings.warn("planted\nin two lines", stacklevel=1),
    "/planted/logging": lambda: logging.getLogger("some.library").error("planted %d", "no number"),
    "/planted/granian": lambda: logging.getLogger("_granian").error("planted", exc_info=ValueError("planted")),
    "/planted/event": lambda: structlog.get_logger("matinee.tests").info("planted", big="x" * 100_000, bad="\ud800"),
}


def create_app() -> Any:
    """Return the service with the faults."""
    front = _create_app()
    from django.contrib.auth.views import LoginView  # which Django has been set up for by now

    Catalogue.genres = fail  # type: ignore[method-assign]
    LoginView.dispatch = fail  # type: ignore[method-assign]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in FAULTS:
            FAULTS[scope["path"]]()
        await front(scope, receive, send)

    return app


if __name__ == "__main__":
    asgi.create_app = create_app  # type: ignore[assignment]
    main()

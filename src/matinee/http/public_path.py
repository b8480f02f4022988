"""The path of MATINEE_PUBLIC_URL: requests below it are those of the service, whether a proxy has passed the path on or not.

Called by asgi.py, which puts it around the front only when there is such a path; without one it costs nothing. Inside, all of
the service sees paths without it. Answers get it back from answers.base_url, docs.py and Django's script name.
This module must never decide what answers a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


def below(path: str, app: AsgiApp) -> AsgiApp:
    """Return an application that serves `app` below a path as well; `app` itself when the path is empty."""
    return _Below(path, app).__call__ if path else app


class _Below:
    """Takes the path off requests that have it. A proxy that took it off, and health checks, are answered all the same."""

    __slots__ = ("_app", "_path", "_start")

    def __init__(self, path: str, app: AsgiApp) -> None:
        self._path, self._start, self._app = path, f"{path}/", app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            path = scope["path"]
            if path.startswith(self._start):
                scope["path"] = path[len(self._path) :]
            elif path == self._path:
                scope["path"] = "/"
        await self._app(scope, receive, send)


def for_django(path: str, scope: Any) -> Any:
    """Return a scope as Django wants it: with the whole path, and its first part as the root path (the script name)."""
    return {**scope, "path": path + scope["path"], "root_path": path} if path else scope

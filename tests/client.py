"""The service in process, asked over ASGI: no port, no wait."""

from __future__ import annotations

import asyncio
import dataclasses
from types import TracebackType
from typing import Any, Self

import httpx

from matinee.config import Config
from matinee.http.app import build
from matinee.http.public_path import below


class Client:
    """A synchronous client of the whole service; `key` is an API key of scope write that is made on first use."""

    def __init__(self, config: Config, **changes: Any) -> None:
        # Links show hosts that are named, no others; and there is one listener, which answers operators too.
        named = {"allowed_hosts": ("testserver", *config.allowed_hosts), "ops_address": "off", "ops_public": True}
        self.config = dataclasses.replace(config, **named | changes)
        self.front = build(self.config)
        for shared in (self.health.position, self.health.metrics):
            shared.kept_s = 0.0  # a test sees each change at once
        self._loop = asyncio.new_event_loop()
        app = below(self.config.public_path, self.front)
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        self._http = httpx.AsyncClient(
            transport=transport, base_url="http://testserver", headers={"accept-encoding": "identity"}
        )
        self._key = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.run_until_complete(self._http.aclose())
        self._loop.run_until_complete(self.runtime.close())
        self._loop.close()

    @property
    def runtime(self) -> Any:
        """Return the parts that the service works with."""
        return self.front.api.state.runtime  # type: ignore[attr-defined]

    @property
    def health(self) -> Any:
        """Return what the requests for health share."""
        return self.front.api.state.health  # type: ignore[attr-defined]

    @property
    def reader(self) -> Any:
        """Return the reader, which counts its statements."""
        return self.runtime.catalogue._reader

    @property
    def key(self) -> str:
        """Return an API key of scope write."""
        if not self._key:
            from matinee.write import keys

            self._key = keys.create("tests", "write", "tests").text
        return self._key

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request."""
        return self._loop.run_until_complete(self._http.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return self.request("GET", path, **options)

    def write(self, method: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        """Send a write with the key; header names are written with underscores."""
        stated = {name.replace("_", "-"): value for name, value in headers.items()}
        options: dict[str, Any] = {} if json is None else {"json": json}
        return self.request(method, path, headers={"authorization": f"Bearer {self.key}"} | stated, **options)

    def titles(self, path: str) -> list[str]:
        """Return the titles on a page."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        return [item["title"] for item in response.json()["items"]]

    def walk(self, path: str) -> list[int]:
        """Return the ids on all pages from this one on."""
        ids: list[int] = []
        cursor = None
        while True:
            join = "&" if "?" in path else "?"
            page = self.get(path + (f"{join}cursor={cursor}" if cursor else "")).json()
            ids += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return ids

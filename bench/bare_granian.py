"""The yardstick of hits: a bare ASGI callable that sends what Matinee sends, out of a dictionary.

Served by hot_path.py with Granian as Matinee is. The file that BENCH_ANSWERS names holds, for each path, the headers and the
body of a hit as Matinee sent it. It must not do anything that sending does not need: no look at the log of changes, no
conditional requests, no counting, no access log, one request id for everybody. What Matinee does on top of it is what the
ratio measures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

Answers = dict[str, tuple[list[tuple[bytes, bytes]], bytes]]


def write_answers(path: Path, answers: Iterable[tuple[str, list[tuple[str, str]], bytes]]) -> None:
    """Write the file that the application reads: path, headers and body of each answer."""
    plain = {path: ([(name.encode(), value.encode()) for name, value in headers], body) for path, headers, body in answers}
    path.write_bytes(msgspec.msgpack.encode(plain))


def create_app() -> Any:
    """Return the application of this worker process."""
    answers = msgspec.msgpack.decode(Path(os.environ["BENCH_ANSWERS"]).read_bytes(), type=Answers)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await _live(receive, send)
            return
        headers, body = answers[scope["path"]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


async def _live(receive: Any, send: Any) -> None:
    """Take part in the protocol of starting and ending."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})

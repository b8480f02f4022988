"""The log of a real server: JSON alone whatever fails, bounded lines, rotated files, and the client's address."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from matinee.logs.lines import MAX_LINE_BYTES
from tests import faulty_server
from tests.cluster.children import children
from tests.processes import Server, eventually, start_server

COOKIE = f"matinee_csrf={'a' * 32}"  # without one, the form is refused before its fields are counted
FORM = "application/x-www-form-urlencoded"
LOGGERS = {
    "matinee.server": 1,
    "django.request": 1,
    "matinee.http": 1,
    "asyncio": 2,
    "matinee": 2,
    "py.warnings": 1,
    "some.library": 1,
    "_granian": 1,
    "matinee.tests": 1,
}
FAULTY = [sys.executable, faulty_server.__file__]


def events(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log; every line of it must be JSON, and short."""
    written = path.read_bytes()
    assert max(len(line) for line in written.splitlines(keepends=True)) <= MAX_LINE_BYTES
    return [json.loads(line) for line in written.decode().splitlines()]


def test_every_line_of_a_log_is_json_whatever_fails(small_catalogue: Path) -> None:
    with start_server(small_catalogue, program=FAULTY) as server:
        statuses = [
            server.get("/admin/", headers={"host": "evil.example"}).status_code,
            server.get("/admin/login/").status_code,
            server.get("/v1/genres").status_code,
            *(server.get(path).status_code for path in faulty_server.FAULTS),
        ]
        # While the server runs: on a busy machine its end may be slow, which is a line of Granian's, too.
        eventually(lambda: Counter(event["logger"] for event in events(server.log) if "logger" in event), LOGGERS.__eq__)
    events(server.log)

    assert statuses == [400, 500, 500] + [404] * len(faulty_server.FAULTS)


def test_a_clients_fault_is_one_warning_without_a_stack(server: Server) -> None:
    many_fields = {
        "content": "a=&" * 20_001,
        "headers": {"content-type": FORM, "x-request-id": "many-fields", "cookie": COOKIE},
    }
    refused = httpx.post(f"{server.url}/admin/login/", timeout=10, **many_fields)

    def told() -> list[dict[str, Any]]:
        return [event for event in events(server.log) if event.get("logger", "").startswith("django.security")]

    (line,) = eventually(told, bool)
    assert refused.status_code == 400
    assert {name: line[name] for name in ("level", "logger", "status", "path", "request_id")} == {
        "level": "warning",
        "logger": "django.security.TooManyFieldsSent",
        "status": 400,
        "path": "/admin/login/",
        "request_id": "many-fields",
    }
    assert "exception" not in line


def test_a_long_path_is_cut_in_the_log(server: Server) -> None:
    server.get(f"/v1/movies/{'9' * 30_000}")

    seen = eventually(lambda: events(server.log), lambda seen: any("999" in event.get("path", "") for event in seen))
    path = next(event["path"] for event in seen if "999" in event.get("path", ""))
    assert path == f"/v1/movies/{'9' * 489}...(30011 characters)"


def test_the_client_behind_a_trusted_proxy_is_logged(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_TRUSTED_PROXIES="127.0.0.1") as server:
        asked = ("/v1/movies/1", "/v1/movies/1", "/nowhere")
        for path in asked:
            server.get(path, headers={"x-forwarded-for": "198.51.100.9, 192.0.2.7"})
        eventually(server.log.read_text, lambda text: "/nowhere" in text)

    assert [event["client"] for event in events(server.log) if event.get("path") in asked] == ["192.0.2.7"] * 3


def test_workers_rotate_one_file_and_lose_no_line(small_catalogue: Path, tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    settings = {"MATINEE_LOG_FILE": str(path), "MATINEE_LOG_MAX_BYTES": "65536", "MATINEE_LOG_KEEP": "50"}
    with start_server(small_catalogue, "--workers", "2", **settings) as server:
        for connection in (closing(HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]))) for _ in range(4)):
            with connection as client:
                for number in range(100):
                    client.request("GET", f"/nowhere/{number}/{'x' * 400}")
                    client.getresponse().read()
    files = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 51))]
    written = [event for file in files if file.exists() for event in events(file)]

    assert sum(file.exists() for file in files) >= 4
    # A worker that looked at the file a moment before the other one renamed it still adds its lines there.
    assert max(file.stat().st_size for file in files if file.exists()) <= 2 * 65_536
    asked = sorted(int(event["path"].split("/")[2]) for event in written if event.get("path", "").startswith("/nowhere/"))
    assert asked == sorted(list(range(100)) * 4)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files if file.exists()} == {0o600}


def test_sighup_opens_the_log_again_in_every_process_and_replaces_none(small_catalogue: Path, tmp_path: Path) -> None:
    path, renamed = tmp_path / "matinee.log", tmp_path / "matinee.log-20261128"
    with start_server(small_catalogue, "--workers", "2", MATINEE_LOG_FILE=str(path)) as server:
        server.get("/before")
        eventually(path.read_text, lambda text: "/before" in text)
        processes = {server.process.pid, *children(server.process.pid)}
        path.rename(renamed)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: (holders(processes, path), holders(processes, renamed)), lambda pids: pids[0] and not pids[1])
        server.get("/after")
        eventually(path.read_text, lambda text: "/after" in text)
        assert {server.process.pid, *children(server.process.pid)} == processes

    assert ("/after" in renamed.read_text(), "/before" in path.read_text()) == (False, False)


def holders(pids: set[int], path: Path) -> set[int]:
    """Return which processes have a file open."""
    return {pid for pid in pids if any(os.path.realpath(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())}

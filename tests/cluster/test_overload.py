"""Too much to do and a stuck event loop, on a real server: what clients get meanwhile, and how it is over."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.children import children
from tests.processes import Server, eventually, freeze, start_server

pytestmark = pytest.mark.sqlite_only("what waits does not get to the catalogue: once is enough")
# The genres are read by a worker as `{body}` says; the rest is the real server.
_PLANTED = """
import asyncio, os, pathlib, time
from matinee.cli.main import main
from matinee.ops import server
load = server._load_in_worker
marker = pathlib.Path(os.environ["MATINEE_HOME"]) / "planted"
def loading(*words):
    from matinee.read.catalogue import Catalogue
    real = Catalogue.genres
    async def genres(self):
        {body}
        return await real(self)
    Catalogue.genres = genres
    return load(*words)
server._load_in_worker = loading
main()
"""
_SLOW = "await asyncio.sleep(5)"
_STUCK_ONCE = "os.path.exists(marker) or (marker.touch(), time.sleep(600))"


def planted(body: str) -> Sequence[str]:
    """Return a server whose genres are read so."""
    return [sys.executable, "-c", _PLANTED.format(body=body)]


def told(server: Server, event: str) -> list[dict[str, Any]]:
    """Return the lines of the log that tell of something."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"].startswith(event)]


def test_a_server_with_too_much_to_do_says_so_answers_what_it_keeps_and_recovers(small_catalogue: Path) -> None:
    with start_server(small_catalogue, program=planted(_SLOW), MATINEE_MAX_IN_FLIGHT="1") as server:
        server.get("/v1/movies/1")
        with ThreadPoolExecutor(2) as clients:  # the second waits for what the first one loads, and needs no place
            slow = [clients.submit(server.get, "/v1/genres") for _ in range(2)]
            under_way(server)
            shed = server.get("/v1/changes")
            meanwhile = [server.get(path).status_code for path in ("/livez", "/readyz", "/metrics", "/v1/movies/1")]
        after = server.get("/v1/changes")
        lines = eventually(
            lambda: [line["status"] for line in told(server, "request") if line["path"] == "/v1/changes"],
            lambda seen: 200 in seen,
        )

    assert shed.status_code == 503
    assert (shed.headers["retry-after"], shed.json()["type"]) == ("1", f"{server.url}/docs/errors/overloaded")
    assert meanwhile == [200] * 4
    assert ([done.result().status_code for done in slow], after.status_code) == ([200, 200], 200)
    assert 503 in lines


def test_a_connection_goes_on_after_a_write_that_was_turned_away(small_catalogue: Path) -> None:
    slow = start_server(small_catalogue, program=planted(_SLOW), MATINEE_MAX_IN_FLIGHT="1")
    with slow as server, ThreadPoolExecutor(1) as clients:
        clients.submit(server.get, "/v1/genres")
        under_way(server)
        wire = http.client.HTTPConnection("127.0.0.1", httpx.URL(server.url).port or 0, timeout=10)
        wire.request("POST", "/v1/movies", body=b"x" * 500_000)
        shed, socket = wire.getresponse(), wire.sock
        shed.read()
        wire.request("GET", "/livez")
        live = wire.getresponse()

    assert (shed.status, live.status) == (503, 200)
    assert wire.sock is socket
    wire.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_whose_loop_is_stuck_tells_where_and_is_replaced(small_catalogue: Path, workers: str) -> None:
    more = {"MATINEE_WATCHDOG_S": "1", "MATINEE_LOCAL_CACHE_BYTES": "1000000"}
    with start_server(small_catalogue, "--workers", workers, program=planted(_STUCK_ONCE), **more) as server:
        before = children(server.process.pid)
        eventually(lambda: kept_bytes(server), lambda bound_bytes: bound_bytes == 1_000_000 * int(workers))
        with pytest.raises(httpx.TransportError):
            server.get("/v1/genres")
        answered = eventually(lambda: asked(server, "/v1/genres"), lambda status: status == 200, 20)
        (line,) = told(server, "the event loop is stuck")
        after = eventually(lambda: children(server.process.pid), lambda now: len(now) == len(before))

        assert server.process.poll() is None
        wait(2.5)  # until the new one has published its numbers: what the dead one kept is counted no longer
        eventually(lambda: kept_bytes(server), lambda bound_bytes: bound_bytes == 1_000_000 * int(workers))

    assert (answered, line["level"], line["exit_code"], 1 <= line["silent_s"] < 4) == (200, "error", 70, True)
    assert "in genres\n" in line["stack"]
    assert len(before - after) == 1


def kept_bytes(server: Server) -> float:
    """Return how much all processes may keep together, as the metrics tell it."""
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("matinee_cache_bound_bytes{"))


def asked(server: Server, path: str) -> int:
    """Return the status of an answer; 0 is none."""
    try:
        return httpx.get(server.url + path, timeout=1).status_code
    except httpx.TransportError:
        return 0


def test_a_server_that_was_frozen_for_longer_than_the_bound_goes_on(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_WATCHDOG_S="1") as server:
        family = {server.process.pid, *children(server.process.pid)}
        before = process_of(server)
        for pid in family:
            freeze(pid)
        wait(3)
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        seen = [process_of(server)]
        wait(2.5)
        seen.append(process_of(server))

        assert seen == [before, before]
        assert {server.process.pid, *children(server.process.pid)} == family
    assert told(server, "the event loop is stuck") == []


def test_a_server_that_ends_while_a_long_request_is_under_way_is_not_taken_for_a_stuck_one(small_catalogue: Path) -> None:
    slow = start_server(small_catalogue, program=planted(_SLOW), MATINEE_WATCHDOG_S="1")
    with slow as server, ThreadPoolExecutor(1) as clients:
        long = clients.submit(server.get, "/v1/genres")
        under_way(server)
        server.process.terminate()
        code = server.process.wait(30)

    assert (long.result().status_code, code) == (200, 0)
    assert told(server, "the event loop is stuck") == []


def under_way(server: Server) -> None:
    """Wait until a request has the only place; a look at anything but the metrics might take that place from it."""
    eventually(lambda: server.get("/metrics").text, lambda text: "matinee_http_in_flight 1.0" in text)


def process_of(server: Server) -> str:
    """Return what names the process that answers: ids of requests begin with it."""
    return server.get("/livez").headers["x-request-id"].partition("-")[0]


def wait(seconds: float) -> None:
    """Let time pass, which is what these tests are about."""
    began_s = time.monotonic()
    eventually(lambda: time.monotonic() - began_s, lambda passed_s: passed_s > seconds)

"""`cache stats`, `top`, `purge`, `warm`: the caches, seen, emptied and filled from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee import runtime
from tests.client import Client
from tests.integration.test_trending import counted
from tests.processes import MATINEE, Server, end, environment, eventually, free_port, matinee, start_server
from tests.shared_tiers import RedisServer, running


@contextmanager
def stub(status: int, answer: Any) -> Iterator[tuple[str, list[str]]]:
    """Answer every request with this; yield the address, and the paths that are asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def warm_up(server: Server) -> None:
    """Have one movie kept and found once."""
    eventually(lambda: server.get("/v1/movies/1").headers["cache-status"], lambda status: status.endswith("; hit"))


def test_stats_show_what_the_local_tier_has_counted(server: Server) -> None:
    warm_up(server)

    plain = matinee(server.home, "cache", "stats", "--url", server.url)
    found = json.loads(matinee(server.home, "cache", "stats", "--url", f"{server.url}/", "--json").stdout)

    (tier,) = found["tiers"]
    assert (tier["tier"], tier["policy"], tier["hits"], tier["entries"], tier["insertions"]) == ("local", "s3fifo", 1, 1, 1)
    assert tier["hit_ratio"] == 1 / (1 + tier["misses"])
    assert {"bytes", "bound_bytes", "evictions", "invalidations", "stale_hits", "collapsed", "loads"} < set(tier)
    assert (found["url"], found["shared"]) == (server.url, None)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert {"tier\tpolicy\tfigure\tvalue", "local\ts3fifo\thits\t1"} <= set(plain.stdout.splitlines())


def test_stats_of_a_server_that_keeps_nothing_say_so(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_LOCAL_CACHE_BYTES="0") as server:
        shown = matinee(server.home, "cache", "stats", "--url", server.url)

    assert (shown.returncode, shown.stderr) == (0, "There is no local tier: MATINEE_LOCAL_CACHE_BYTES is 0.\n")


def test_stats_are_watched_with_rates_until_they_are_interrupted(server: Server) -> None:
    words = [*MATINEE, "cache", "stats", "--watch", "--json", "--url", server.url]
    process = subprocess.Popen(words, env=environment(server.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        warm_up(server)
        looks = [json.loads(process.stdout.readline())["tiers"][0] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        code, complaint = process.wait(10), process.communicate()[1]
    finally:
        end(process)

    assert "per_second" not in first["tiers"][0]
    assert max(look["per_second"]["hits"] for look in looks) > 0
    assert (code, complaint) == (130, b"")


def test_stats_are_drawn_anew_in_their_place_on_a_terminal(server: Server) -> None:
    ours, theirs = pty.openpty()
    words = [*MATINEE, "cache", "stats", "--watch", "--url", server.url]
    drawn = environment(server.home, TERM="xterm", COLUMNS="100", LINES="40")
    process = subprocess.Popen(words, env=drawn, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    try:
        seen = b""
        while b"per second" not in seen:
            seen += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        code = process.wait(10)
    finally:
        end(process)
        os.close(ours)
        os.close(theirs)

    assert seen.count(b"\x1b[2J") == 2
    assert code == 130


@pytest.mark.parametrize("words", [("stats",), ("top",)])
def test_without_a_server_both_say_how_to_name_one(words: tuple[str, ...], small_catalogue: Path) -> None:
    shown = matinee(small_catalogue, "cache", *words, "--url", f"http://127.0.0.1:{free_port()}")

    assert (shown.returncode, shown.stdout) == (2, "")
    assert "start one, or name it with --url URL." in shown.stderr


def test_what_is_no_matinee_is_told(tmp_path: Path) -> None:
    with stub(200, ["something else"]) as (url, _):
        stats, top = (matinee(tmp_path, "cache", word, "--url", url) for word in ("stats", "top"))

    assert (stats.returncode, stats.stderr) == (
        2, "matinee: These are no metrics of a Matinee; give the server's address: --url URL\n"
    )  # fmt: skip
    assert (top.returncode, top.stderr) == (2, f"matinee: What answers at {url} is no Matinee.\n")


def test_top_shows_the_movies_that_are_asked_for_most(tmp_path: Path) -> None:
    cards = [{"id": 4, "title": "Star Wars", "year": 1977}, {"id": 9, "title": "Untitled", "year": None}]
    with stub(200, {"items": cards}) as (url, asked):
        plain = matinee(tmp_path, "cache", "top", "--url", url)
        as_json = matinee(tmp_path, "cache", "top", "--url", url, "--window", "week", "--limit", "3", "--json")

    assert plain.stdout.splitlines() == ["place\tid\ttitle\tyear", "1\t4\tStar Wars\t1977", "2\t9\tUntitled\t"]
    assert json.loads(as_json.stdout) == cards
    assert asked == ["/v1/trending?window=day&limit=20", "/v1/trending?window=week&limit=3"]


def test_top_of_a_real_server_is_what_was_counted(server: Server) -> None:
    counted({3: 5, 7: 9})

    shown = matinee(server.home, "cache", "top", "--limit", "1", "--url", server.url)

    assert shown.stdout.splitlines()[1:] == ["1\t7\tSpider-Man\t2002"]


def test_top_of_a_server_that_does_not_count_or_refuses_says_so(tmp_path: Path) -> None:
    shown = []
    for status in (404, 503):
        with stub(status, {"title": "No.", "detail": "It cannot be read."}) as (url, _):
            shown.append(matinee(tmp_path, "cache", "top", "--url", url))

    assert [done.returncode for done in shown] == [2, 2]
    assert "is older than this command: it has no /v1/trending; update it." in shown[0].stderr
    assert "answers 503: It cannot be read." in shown[1].stderr


def test_a_purge_prints_its_position(small_catalogue: Path) -> None:
    one = matinee(small_catalogue, "cache", "purge", "--movie", "imdb:tt0078748")
    everything = matinee(small_catalogue, "cache", "purge", "--all", "--json")

    assert (one.returncode, one.stdout, one.stderr) == (0, "13\n", "Purged: what is kept of movie 1.\n")
    assert (everything.returncode, json.loads(everything.stdout)) == (0, {"position": 14, "movie": None})
    with Client(configuration.load(home=small_catalogue)) as client:
        log = client.get("/v1/changes?since=12").json()["items"]
    assert [(item["subject"], item["subject_id"], item["kind"]) for item in log] == [
        ("cache", 1, "purged"),
        ("cache", 0, "purged"),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Give one of --movie ID and --all."),
        (("--movie", "1", "--all"), "Give one of --movie ID and --all."),
        (("--movie", "0"), "There is no movie 0, and nothing is purged."),
        (("--movie", "99"), "There is no movie 99, and nothing is purged."),
        (("--movie", "Alien"), "--movie 'Alien' is not a movie's id"),
    ],
)
def test_a_purge_of_nothing_in_particular_or_of_what_is_not_there_is_refused(
    words: tuple[str, ...], told: str, small_catalogue: Path
) -> None:
    shown = matinee(small_catalogue, "cache", "purge", *words)

    assert (shown.returncode, shown.stdout) == (2, "")
    assert told in shown.stderr


def test_the_shared_cache_is_warmed_with_what_is_asked_for_most(small_catalogue: Path, tmp_path: Path) -> None:
    with running(RedisServer, tmp_path) as redis:

        async def count() -> None:
            parts = runtime.build(configuration.load(home=small_catalogue, redis_url=redis.url))
            await parts.popularity.add(dict.fromkeys(range(1, 11), 2), time.time())
            await parts.close()

        asyncio.run(count())
        plain = matinee(small_catalogue, "cache", "warm", REDIS_URL=redis.url)
        few = matinee(small_catalogue, "cache", "warm", "--limit", "4", "--json", REDIS_URL=redis.url)

    assert (plain.returncode, plain.stdout) == (0, "10\n")
    assert (few.returncode, json.loads(few.stdout)) == (0, {"movies": 4})


def test_without_a_shared_cache_there_is_nothing_to_warm(small_catalogue: Path) -> None:
    none = matinee(small_catalogue, "cache", "warm")
    away = matinee(small_catalogue, "cache", "warm", REDIS_URL=f"redis://127.0.0.1:{free_port()}")

    assert (none.returncode, none.stdout, away.returncode, away.stdout) == (2, "", 2, "")
    assert "There is no shared cache to warm: set REDIS_URL or MEMCACHED_URL." in none.stderr
    assert "The shared cache redis at redis://127.0.0.1:" in away.stderr

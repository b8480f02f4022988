"""What is kept is never believed for too long: a crowd reads and writes while everything that keeps something is harmed.

Three servers, two followers that lag behind differently, a Redis, all caches too small. Every answer is recorded, and the
record is checked afterwards against the leader's log. The same run with the stamp taken out shows that the checks see a fault.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest
from redis import Redis

from matinee.cache.redis import PREFIX
from matinee.cache.sealed import Seals, movie_of, rows_of
from matinee.domain.change_log import ChangeLog, LogRow
from matinee.ops.postgres import FOR_TESTS, SETTINGS, PostgresNode
from matinee.ops.processes import free_port
from matinee.storage.postgres import plain_text
from matinee.storage.sql import named_queries
from tests import postgres
from tests.cluster import history, unstamped
from tests.cluster.crowd import PAGES, Crowd
from tests.cluster.harm import Harm, killed_writers
from tests.cluster.history import Read, Truth
from tests.processes import MATINEE, Server, environment, matinee, start_server
from tests.shared_tiers import RedisServer, running

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: the run on SQLite has no followers"),
]
SEED = 20_261_125
MOVIES, WRITTEN = 200, 50
READS, READS_UNSTAMPED = 40_000, 8_000
SERVERS, KILLED_WRITERS = 3, 3
LAGS_MS = ((2, 50), (50, 200), (200, 2), (200, 200))  # of the two followers, one pair after another
TAIL_INTERVAL_S, LIST_MAX_STALENESS_S = 0.1, 2.0  # the defaults of the settings
TOLERANCE_S = 0.5  # for processes that do not get their turn: three servers, three databases and the crowd share the machine
QUIET_S = 5.0
LOCAL_BYTES = 120_000  # about fifty of the answers
REDIS_ROOM_BYTES = 350_000


class Lag(NamedTuple):
    """How far the slower follower is behind, and since when."""

    since_s: float
    lag_s: float


@dataclass
class Fleet:
    """A leader, two followers, a Redis; and what servers over them are started with."""

    leader: PostgresNode
    followers: list[PostgresNode]
    redis: RedisServer
    home: Path
    key: str = ""

    def settings(self) -> dict[str, str]:
        """Return the settings of a server."""
        return {
            "DATABASE_URL": self.leader.url("matinee"),
            "DATABASE_FOLLOWER_URLS": ",".join(node.url("matinee") for node in self.followers),
            "REDIS_URL": self.redis.url,
            "MATINEE_LOCAL_CACHE_BYTES": str(LOCAL_BYTES),
            "MATINEE_ACCESS_LOG": "off",
        }

    def lag(self, lags_ms: Sequence[int]) -> Lag:
        """Let the followers replay each commit so many milliseconds after it was made."""
        for node, lag_ms in zip(self.followers, lags_ms, strict=True):
            with psycopg.connect(node.url(), autocommit=True) as session:
                session.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = '{lag_ms}ms'")
                session.execute("SELECT pg_reload_conf()")
        return Lag(time.monotonic(), max(lags_ms) / 1000)

    def changes(self) -> list[history.Change]:
        """Return the changes of movies in the leader's log."""
        with psycopg.connect(self.leader.url("matinee")) as session:
            text = "SELECT position, subject_id, version FROM change WHERE subject = 'movie'"
            return [tuple(row) for row in session.execute(text).fetchall()]

    def documents(self) -> dict[int, tuple[bytes, bytes]]:
        """Return the leader's body and card of each movie."""
        with psycopg.connect(self.leader.url("matinee")) as session:
            rows = session.execute("SELECT movie_id, body, card FROM movie_document ORDER BY movie_id").fetchall()
        return {movie: (bytes(body), bytes(card)) for movie, body, card in rows}

    def log(self) -> ChangeLog:
        """Return the leader's log as a server has it that has followed it from its first change to its last."""
        log, values = ChangeLog(), {"since": 0, "limit": 10**9}
        with psycopg.connect(self.leader.url("matinee")) as session:
            rows = session.execute(plain_text(named_queries("postgresql")["log_from"]), values).fetchall()
        log.begin(None)
        log.append([LogRow(*row) for row in rows], now_s=0)
        return log


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return the fleet with its movies; no server runs."""
    home, folder = tmp_path_factory.mktemp("coherence"), Path(tempfile.mkdtemp(prefix="matinee-coherence-"))
    folder.chmod(0o755)
    settings = {**SETTINGS, **FOR_TESTS}
    nodes = [PostgresNode(name, folder / name, free_port(), "of the tests", settings) for name in ("leader", "one", "two")]
    with ExitStack() as left:
        left.callback(shutil.rmtree, folder)
        for node in nodes:
            left.callback(node.delete)
        leader, *followers = nodes
        leader.create()
        leader.start()
        with psycopg.connect(leader.url(), autocommit=True) as session:
            session.execute("CREATE DATABASE matinee")
        redis = left.enter_context(running(RedisServer, home, "--maxmemory-policy", "allkeys-lfu"))
        assert isinstance(redis, RedisServer)
        fleet = Fleet(leader, followers, redis, home)
        _fill(fleet)
        for follower in followers:
            follower.follow(leader)
            follower.start()
        yield fleet


def _fill(fleet: Fleet) -> None:
    urls = {"DATABASE_URL": fleet.leader.url("matinee")}
    overview = "A film like any other. " * 40
    films = [
        {"title": f"Film {number}", "year": 1950 + number % 70, "genres": ["Drama"], "overview": overview}
        for number in range(MOVIES)
    ]
    assert matinee(fleet.home, "migrate", **urls).returncode == 0
    lines = "".join(json.dumps(film) + "\n" for film in films).encode()
    assert matinee(fleet.home, "import", "ndjson", "-", stdin=lines, **urls).returncode == 0
    fleet.key = matinee(fleet.home, "key", "create", "--name", "crowd", "--scope", "write", **urls).stdout.strip()


class Run(NamedTuple):
    """What a run has recorded. `wrong` is what some tier still held, or some server still answered, after the quiet."""

    reads: list[Read]
    truth: Truth
    lags: list[Lag]
    figures: dict[str, float]  # how often what happened
    wrong: list[str]

    def bound_s(self, read: Read) -> float:
        """Return how old an answer may be: the lag that was in force about then, the tail's interval, and the tolerance."""
        ends_s = [later.since_s for later in self.lags[1:]] + [inf]
        since_s, until_s = read.began_s - 1.0, read.began_s + read.took_s
        phases = zip(self.lags, ends_s, strict=True)
        lag_s = max(lag.lag_s for lag, end_s in phases if lag.since_s < until_s and end_s > since_s)
        grace_s = LIST_MAX_STALENESS_S if "stale-while-revalidate" in read.cache else 0.0
        return lag_s + TAIL_INTERVAL_S + grace_s + TOLERANCE_S


def run(fleet: Fleet, lags_ms: Sequence[tuple[int, int]], reads: int, program: Sequence[str] = MATINEE) -> Run:
    """Let the crowd read so often while everything is harmed, under one pair of lags after another; then look after a quiet.

    The third server joins late, when Redis is full of what the others have shared.
    """
    with ExitStack() as left:

        def server() -> Server:
            return left.enter_context(start_server(fleet.home, program=program, **fleet.settings()))

        lags, before = [fleet.lag(lags_ms[0])], len(fleet.changes())
        three, harm = [server(), server()], Harm(fleet.redis, REDIS_ROOM_BYTES, SEED)
        crowd = Crowd([item.url for item in three], fleet.key, MOVIES, WRITTEN, SEED)
        variables = environment(fleet.home, **fleet.settings())
        with crowd, ExitStack() as writers:
            seeds = range(SEED, SEED + KILLED_WRITERS)
            told = [writers.enter_context(killed_writers(variables, WRITTEN, seed)) for seed in seeds]
            for number, pair_ms in enumerate(lags_ms, start=1):
                lags.append(fleet.lag(pair_ms))
                while len(crowd.reads) < reads * number / len(lags_ms):
                    harm.do()
                    if len(three) < SERVERS:
                        three.append(server())
                        crowd.urls.append(three[-1].url)
        assert [refusal for refusal in crowd.refused if not refusal.startswith("503 ")] == []
        threading.Event().wait(QUIET_S)
        changes, acknowledged = fleet.changes(), [*crowd.acknowledged, *chain(*told)]
        harmed = harm.end()
        # Redis first as the run has left it, then as it is when everything has been asked for.
        wrong = [*wrong_in_redis(fleet), *wrong_answers(fleet, three), *wrong_in_redis(fleet)]
        figures = {**harmed, **counted(three), "commits": len(changes) - before}
        figures["commits that nobody was told of"] = figures["commits"] - len(acknowledged)
        figures["values of Redis that are believed"] = len(believed_in_redis(fleet))
        return Run(crowd.reads, Truth(changes, acknowledged), lags, figures, wrong)


def counted(several: list[Server]) -> dict[str, float]:
    """Return what the servers have counted of how their caches were used."""
    lines = [line for server in several for line in server.get("/metrics").text.splitlines()]
    names = {
        "local hits": "matinee_cache_hits_total{", "local evictions": "matinee_cache_evictions_total{",
        "shared hits": 'matinee_shared_cache_operations_total{operation="get",result="hit"}',
        "shared outages": "matinee_shared_cache_outages_total",
    }  # fmt: skip
    return {name: sum(float(line.split()[-1]) for line in lines if line.startswith(start)) for name, start in names.items()}


def wrong_answers(fleet: Fleet, several: list[Server]) -> list[str]:
    """Return what the servers answer otherwise than the leader has it: each movie twice, and each page."""
    documents, wrong = fleet.documents(), []
    for server in several:
        with httpx.Client(base_url=server.url, headers={"accept-encoding": "identity"}) as client:
            for movie, (body, _) in documents.items():
                answers = [client.get(f"/v1/movies/{movie}") for _ in range(2)]
                wrong += [f"{server.url} {answer.text[:40]}" for answer in answers if answer.content != body]
            for path in PAGES:
                page = client.get(path).content
                shown = [int(item["id"]) for item in json.loads(page)["items"]]
                wrong += [f"{server.url} {path}: {movie}" for movie in shown if documents[movie][1] not in page]
    return wrong


def believed_in_redis(fleet: Fleet) -> dict[str, bool]:
    """Return which values a server that knows all changes believes of what Redis holds, and whether each is as the leader's."""
    documents, log = fleet.documents(), fleet.log()
    bodies = {movie: body for movie, (body, _) in documents.items()}
    cards = {card for _, card in documents.values()}
    with Redis(port=fleet.redis.port) as client:
        keys = [*client.keys(PREFIX + b"m:*"), *client.keys(PREFIX + b"p:*")]
        held = [(key.removeprefix(PREFIX).decode(), client.get(key)) for key in keys]
    believed, seals = {}, Seals((fleet.home / "secret_key").read_text().strip())
    for key, value in held:
        stamp, content = (None if value is None else seals.unseal(log, key, value)) or (-1, b"")
        kind, _, name = key.partition(":")
        if kind == "m" and log.believes(int(name), stamp):
            found = movie_of(content)
            believed[key] = found is not None and found.body == bodies[int(name)]
        elif kind == "p" and log.is_newest(stamp):
            rows = rows_of(content)
            believed[key] = rows is not None and cards.issuperset(rows[0])
    return believed


def wrong_in_redis(fleet: Fleet) -> list[str]:
    """Return the values of Redis that are believed and are not as the leader's."""
    return [key for key, is_right in believed_in_redis(fleet).items() if not is_right]


@pytest.fixture(scope="module")
def recorded(fleet: Fleet) -> Run:
    """Return the record of the long run; `pytest -rP` shows its figures."""
    recorded = run(fleet, LAGS_MS, READS)
    sys.stdout.write("\n".join(history.figures(recorded.reads, recorded.truth)) + f"\n{recorded.figures}\n")
    return recorded


def test_no_read_fails(recorded: Run) -> None:
    assert len(recorded.reads) >= READS
    assert history.failed(recorded.reads) == []


def test_nothing_is_older_than_the_bound_or_than_it_says(recorded: Run) -> None:
    assert history.older_than(recorded.reads, recorded.truth, recorded.bound_s) == []
    assert history.staler_than_told(recorded.reads, recorded.truth) == []


def test_nobody_is_answered_from_before_what_they_have_shown(recorded: Run) -> None:
    assert history.behind_what_was_shown(recorded.reads) == []
    assert history.gone_back(recorded.reads) == []


def test_each_answer_shows_its_movies_as_they_were_at_the_position_that_it_tells(recorded: Run) -> None:
    assert history.not_as_told(recorded.reads, recorded.truth) == []


def test_after_a_quiet_every_tier_of_every_server_equals_the_leader(recorded: Run) -> None:
    assert recorded.wrong == []


def test_everything_was_harmed_and_everything_was_used(recorded: Run) -> None:
    assert [name for name, times in recorded.figures.items() if not times] == []


def test_with_the_stamp_taken_out_the_checks_find_what_is_old(fleet: Fleet) -> None:
    done = run(fleet, LAGS_MS[:1], READS_UNSTAMPED, program=[sys.executable, unstamped.__file__])

    found = {
        "older than the bound": len(history.older_than(done.reads, done.truth, done.bound_s)),
        "staler than told": len(history.staler_than_told(done.reads, done.truth)),
        "not as told": len(history.not_as_told(done.reads, done.truth)),
    }
    sys.stdout.write(f"of {len(done.reads)} reads {found}, after the quiet {len(done.wrong)} wrong\n")
    assert history.failed(done.reads) == []
    assert [name for name, times in found.items() if times < 100] == []
    assert len(done.wrong) > 10

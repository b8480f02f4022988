"""The whole cluster under load: what is done to its servers, its balancer and its Redis, and that no client sees it."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from matinee.ops import balancing
from tests import postgres
from tests.cluster import load as loads
from tests.cluster import rush
from tests.cluster.slow_clients import slow_clients
from tests.cluster.whole import SERVERS, Bounds, Whole, for_a_while
from tests.processes import eventually

pytestmark = [
    pytest.mark.alone,
    pytest.mark.whole,
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: a whole cluster has no SQLite"),
]
_REDIS_LOST = Bounds(p99_s=0.2, interrupted_writes=0)
_OVERLOADED = Bounds(refuses_reads=True, slowest_read_s=2.0, p99_s=1.0)
_TIMES, _LEAST_GOODPUT, _RECOVERS_WITHIN_S = 5.0, 0.9, 5.0
_CLIENTS = 10  # times the peak, with a pause of a second and half a one of waiting: as many as come 5 times a second
_AT_THE_PEAK = 32  # clients; of 16 and 64 fewer are answered


@pytest.mark.smoke
def test_a_server_is_killed_with_a_write_in_flight(whole: Whole) -> None:
    with whole.row("kill -9 of a server with a write in flight") as load:
        server = whole.server()
        server.send(signal.SIGSTOP)  # until a write has come to it
        eventually(lambda: load.waiting(0.2), bool)
        server.send(signal.SIGKILL)
        for_a_while(load)
        whole.command("start", server.name)

    assert [write for write in load.acknowledged if write.was_unknown] != []


def test_a_server_is_asked_to_end(whole: Whole) -> None:
    with whole.row("SIGTERM of a server", Bounds(interrupted_writes=0)) as load:
        server = whole.server(2)
        assert server.process is not None
        server.process.tell(signal.SIGTERM)
        eventually(server.state, lambda state: state == "dead", 20)
        for_a_while(load)
        whole.command("start", server.name)


def test_a_server_freezes_for_five_seconds(whole: Whole) -> None:
    with whole.row("SIGSTOP of a server, 5 s", Bounds(slowest_read_s=3.0)):
        server = whole.server(3)
        server.send(signal.SIGSTOP)
        threading.Event().wait(5.0)
        server.send(signal.SIGCONT)


@pytest.mark.smoke
def test_all_servers_are_restarted_one_after_another(whole: Whole) -> None:
    with whole.row("rolling restart of all servers", Bounds(interrupted_writes=0)):
        whole.command("rolling-restart")


def test_a_server_is_drained_removed_and_another_one_added(whole: Whole) -> None:
    with whole.row("drain, remove and add a server", Bounds(interrupted_writes=0)) as load:
        whole.command("drain", "server-2")
        whole.command("remove", "server-2")
        whole.command("add", "server")
        for_a_while(load, 6 * 300)  # the balancer begins slowly with a new one, for five seconds
        before = requests(whole)
        for_a_while(load, 10 * 300)
        after = requests(whole)

    shares = [after[name] - before[name] for name in after]
    assert len(shares) == SERVERS
    mean = sum(shares) / SERVERS
    assert [share for share in shares if abs(share - mean) > 0.1 * mean] == []


def requests(whole: Whole) -> dict[str, int]:
    """Return how many reads the balancer has sent to each server."""
    lines = balancing.statistics(whole.cluster())
    return {line["svname"]: int(line["stot"]) for line in lines if line["pxname"] == "read" and line["svname"] != "BACKEND"}


@pytest.mark.smoke
def test_the_balancer_is_reloaded(whole: Whole) -> None:
    with whole.row("reload of HAProxy, three times", Bounds(interrupted_writes=0)) as load:
        for _ in range(3):
            whole.engine("balancer").reload()
            for_a_while(load)


def test_the_balancer_is_restarted(whole: Whole) -> None:
    with whole.row("restart of HAProxy", Bounds(away_s=2.0)):
        whole.command("restart", "balancer")


@pytest.mark.smoke
def test_redis_is_killed(whole: Whole) -> None:
    with whole.row("kill -9 of Redis", _REDIS_LOST) as load:
        whole.engine("redis").send(signal.SIGKILL)
        for_a_while(load)
        whole.command("start", "redis")


def test_redis_freezes_for_five_seconds(whole: Whole) -> None:
    with whole.row("SIGSTOP of Redis, 5 s", _REDIS_LOST):
        whole.engine("redis").send(signal.SIGSTOP)
        threading.Event().wait(5.0)
        whole.engine("redis").send(signal.SIGCONT)


def test_redis_is_emptied(whole: Whole) -> None:
    with whole.row("FLUSHALL of Redis", _REDIS_LOST) as load:
        for _ in range(3):
            assert whole.engine("redis").say(b"FLUSHALL\r\n") == b"+OK\r\n"
            for_a_while(load)


def test_five_hundred_clients_send_their_heads_byte_by_byte(whole: Whole) -> None:
    with whole.row("500 slow clients", Bounds(interrupted_writes=0)) as load, slow_clients(whole.url(), 500) as answered:
        for_a_while(load, 12 * 300)

    assert set(answered) == {"408"}
    assert answered["408"] >= 500


def test_five_times_as_many_reads_come_as_can_be_answered(whole: Whole) -> None:
    with whole.row("overload, 20 s", _OVERLOADED) as load:
        rush.send(whole.url(), 3, _AT_THE_PEAK)  # the first answers of all take longer
        peak = rush.send(whole.url(), 10, _AT_THE_PEAK)
        # Each asks again a second after its answer, as it is told to, and waits for that one some tenths more.
        over = rush.send(whole.url(), 20, round(_CLIENTS * peak.good_per_s), pause_s=1.0)
        ended_s = time.monotonic()
        for_a_while(load, 8 * 300)
        offered, goodput = over.offered_per_s / peak.good_per_s, over.good_per_s / peak.good_per_s
        load.remark = f"{offered:.1f} times {peak.good_per_s:.0f}/s come, {goodput:.2f} are answered"

    assert (peak.refused, peak.odd, over.odd) == (0, 0, 0)
    assert offered >= _TIMES
    assert [read for read in loads.failed_reads(load) if read.began_s > ended_s + _RECOVERS_WITHIN_S] == []
    assert goodput >= _LEAST_GOODPUT

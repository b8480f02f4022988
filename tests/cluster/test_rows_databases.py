"""The whole cluster under load: what is done to PostgreSQL, its leader above all, and to etcd; reads never notice."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from matinee.ops.database_node import DatabaseNode
from matinee.ops.engines import EngineNode
from matinee.ops.processes import family_of
from tests import postgres
from tests.cluster import partition
from tests.cluster.relay import start_relay
from tests.cluster.whole import DISK_OF, Bounds, Whole, for_a_while, patroni, written_again
from tests.processes import eventually

pytestmark = [
    pytest.mark.alone,
    pytest.mark.whole,
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: a whole cluster has no SQLite"),
]
_FOLLOWER_LOST = Bounds(slowest_read_s=0.5, write_gap_s=1.5)
_POSTGRES_LOST = Bounds(write_gap_s=6.0, staleness_s=60.0)  # without a leader nobody can say how stale copies are
_NODE_LOST = Bounds(write_gap_s=25.0, staleness_s=60.0)
_LEADS_WITHIN_S = 40.0


@contextmanager
def frozen(*nodes: DatabaseNode | EngineNode) -> Iterator[None]:
    """Freeze nodes, and let them go on afterwards."""
    for node in nodes:
        node.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for node in nodes:
            node.send(signal.SIGCONT)


def another_leads(whole: Whole, before: DatabaseNode) -> None:
    """Wait until another node leads than before."""

    def leaders() -> list[str]:
        return [node.name for node in whole.cluster().databases if node.role == "leader"]

    eventually(leaders, lambda names: bool(names) and before.name not in names, _LEADS_WITHIN_S)


def test_nothing_happens(whole: Whole) -> None:
    with whole.row("nothing", Bounds(interrupted_writes=0)) as load:
        for_a_while(load, 10 * 300)


@pytest.mark.smoke
def test_a_follower_is_killed(whole: Whole) -> None:
    with whole.row("kill -9 of a follower", _FOLLOWER_LOST) as load:
        follower = whole.follower()
        follower.send(signal.SIGKILL)
        for_a_while(load)
        whole.command("start", follower.name)


def test_a_follower_freezes(whole: Whole) -> None:
    with whole.row("SIGSTOP of a follower, 8 s", _FOLLOWER_LOST), frozen(whole.follower()):
        threading.Event().wait(8.0)


def test_what_is_sent_to_a_follower_is_lost(whole: Whole) -> None:
    if not partition.is_possible():
        pytest.skip("this process may not lose packets: it is not root, or nft is not installed")
    with whole.row("one-way partition from a follower, 8 s", _FOLLOWER_LOST), partition.one_way(whole.follower().port):
        threading.Event().wait(8.0)


def test_a_follower_answers_late(whole: Whole) -> None:
    if not partition.is_possible():
        pytest.skip("this process may not divert packets: it is not root, or nft is not installed")
    follower, mark = whole.follower(), 77
    with (
        whole.row("a follower that answers 200 ms late, 8 s", _FOLLOWER_LOST),
        start_relay(follower.port, 0.2, mark) as relay,
        partition.diverted(follower.port, relay.port, mark),
    ):
        with psycopg.connect(follower.postgres.url(), autocommit=True) as session:  # what was there before goes straight
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'matinee-%'")
        threading.Event().wait(8.0)


@pytest.mark.smoke
def test_the_leaders_postgresql_is_killed(whole: Whole) -> None:
    with whole.row("kill -9 of the leader's PostgreSQL", _POSTGRES_LOST) as load:
        leader = whole.leader()
        postmaster = patroni(leader).postmaster()
        assert postmaster is not None
        postmaster.send(signal.SIGKILL)
        another_leads(whole, leader)
        written_again(load)


def test_the_leaders_node_is_killed(whole: Whole) -> None:
    with whole.row("kill -9 of the leader's node", _NODE_LOST) as load:
        leader = whole.leader()
        leader.send(signal.SIGKILL)
        another_leads(whole, leader)
        written_again(load)
        whole.command("start", leader.name)


def test_only_the_leaders_patroni_is_killed(whole: Whole) -> None:
    with whole.row("kill -9 of the leader's Patroni alone", _NODE_LOST) as load:
        leader = whole.leader()
        assert leader.process is not None
        leader.process.send(signal.SIGKILL)
        another_leads(whole, leader)
        written_again(load)
        assert patroni(leader).postmaster() is not None  # the zombie was there all the time
        whole.command("restart", leader.name)


def test_the_leaders_node_freezes(whole: Whole) -> None:
    with whole.row("SIGSTOP of the leader's node, 30 s", _NODE_LOST) as load:
        leader = whole.leader()
        with frozen(leader):
            another_leads(whole, leader)
            written_again(load)
            for_a_while(load, 5 * 300)


def test_the_leader_is_cut_off_from_etcd_and_the_other_nodes(whole: Whole) -> None:
    if not partition.is_possible():
        pytest.skip("this process may not lose packets: it is not root, or nft is not installed")
    with whole.row("partition of the leader from etcd and the followers", _NODE_LOST) as load:
        leader, others = whole.leader(), whole.cluster().followers
        etcds = {node.port for node in whole.cluster().engines if node.role == "etcd"}
        far, far_ports = set().union(*map(pids, others)), etcds.union(*map(ports, others))
        with partition.apart(pids(leader), ports(leader), far, far_ports):
            another_leads(whole, leader)
            written_again(load)


def pids(node: DatabaseNode) -> set[int]:
    """Return the processes of a node."""
    found = (node.process, patroni(node).postmaster())
    return {pid for process in found if process is not None for pid in family_of(process.pid)}


def ports(node: DatabaseNode) -> set[int]:
    """Return the ports of a node."""
    return {node.port, patroni(node).rest_port}


def test_the_leaders_disk_is_full(whole: Whole) -> None:
    if whole.disk is None:
        pytest.skip("this process may not mount the small disk that is to be filled")
    if whole.leader().name != DISK_OF:
        whole.heal()
        whole.command("switchover", DISK_OF)
    with whole.row("full disk of the leader", _NODE_LOST) as load:
        leader = whole.leader()
        whole.disk.fill()
        try:
            end_segments_of_the_log(leader)
            another_leads(whole, leader)
            written_again(load)
        finally:
            whole.disk.free()


def end_segments_of_the_log(leader: DatabaseNode) -> None:
    """Let the leader begin one segment of its log after another, until it has no room for the next one, which ends it."""
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(leader.postgres.url(), autocommit=True) as session:
        for _ in range(200):
            session.execute("SELECT pg_logical_emit_message(false, 'tests', ''), pg_switch_wal()")


@pytest.mark.smoke
def test_another_node_leads_as_planned(whole: Whole) -> None:
    with whole.row("planned switchover", _POSTGRES_LOST) as load:
        whole.command("switchover")
        written_again(load)


def test_one_etcd_is_killed(whole: Whole) -> None:
    with whole.row("kill -9 of one etcd", Bounds(interrupted_writes=0)) as load:
        whole.engine("etcd-1").send(signal.SIGKILL)
        for_a_while(load, 10 * 300)
        whole.command("start", "etcd-1")


def test_all_etcds_freeze(whole: Whole) -> None:
    with whole.row("SIGSTOP of all etcd, 30 s", Bounds(interrupted_writes=0)):
        before = whole.leader().name
        with frozen(*(node for node in whole.cluster().engines if node.role == "etcd")):
            threading.Event().wait(30.0)
        assert whole.leader().name == before

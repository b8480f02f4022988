"""Reads never fail because one machine did: each fault under a steady load, and a history of every answer that is checked.

One leader with two streaming followers and a server, for all of these; each test leaves them as it found them.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from matinee.ops.postgres import FOR_TESTS, SETTINGS, PostgresNode, server_user
from matinee.ops.processes import free_port
from tests import postgres
from tests.cluster import load as loads
from tests.cluster.load import Load
from tests.cluster.relay import Relay, start_relay
from tests.cluster.small_disk import SmallDisk, small_disk
from tests.processes import Server, eventually, matinee, start_server

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: the run on SQLite has no followers"),
]
MOVIES = 12
BOUND_S = 1.0


@dataclass
class Fleet:
    """A leader, two followers, and a server that reads from them; `one` has a disk of its own, and a relay leads to `two`."""

    leader: PostgresNode
    one: PostgresNode
    two: PostgresNode
    disk: SmallDisk | None
    relay: Relay
    server: Server
    key: str

    def copies(self) -> dict[str, dict[str, Any]]:
        """Return what the server thinks of each copy, by name."""
        ports = {"leader": self.leader.port, "one": self.one.port, "two": self.relay.port}
        nodes = {f"127.0.0.1:{port}": name for name, port in ports.items()}
        lines = self.server.get("/readyz").json()["dependencies"]
        return {nodes[line["name"]]: line for line in lines if line["name"] in nodes}

    def healthy(self) -> list[str]:
        """Return the copies that the server sends reads to."""
        return sorted(name for name, line in self.copies().items() if line["status"] == "healthy")

    def positions(self) -> set[int]:
        """Return the positions in the leader's log."""
        with psycopg.connect(self.leader.url("matinee")) as session:
            return {position for (position,) in session.execute("SELECT position FROM change").fetchall()}


@contextmanager
def empty_nodes() -> Iterator[tuple[list[PostgresNode], SmallDisk | None]]:
    """Return the leader and the followers to be, with the disk of the first follower; nothing is left of them."""
    folder = Path(tempfile.mkdtemp(prefix="matinee-fleet-"))
    settings = {**SETTINGS, **FOR_TESTS}
    nodes = [PostgresNode(name, folder / name, free_port(), "of the tests", settings) for name in ("leader", "one", "two")]
    with ExitStack() as left:
        left.callback(shutil.rmtree, folder)
        nodes[1].folder.mkdir()
        for path in (folder, nodes[1].folder):
            path.chmod(0o755)
        disk = left.enter_context(small_disk(nodes[1].data, server_user()))
        for node in nodes:
            left.callback(node.delete)
            left.callback(node.send, signal.SIGCONT)
        yield nodes, disk


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return the fleet, loaded and serving."""
    home = tmp_path_factory.mktemp("fleet")
    with empty_nodes() as ((leader, one, two), disk), start_relay(two.port) as relay:
        leader.create()
        leader.start()
        with psycopg.connect(leader.url(), autocommit=True) as session:
            session.execute("CREATE DATABASE matinee")
        urls = {"DATABASE_URL": leader.url("matinee")}
        films = b"".join(b'{"title": "Film %d", "year": 1980, "genres": ["Drama"]}\n' % number for number in range(MOVIES))
        assert matinee(home, "migrate", **urls).returncode == 0
        assert matinee(home, "import", "ndjson", "-", stdin=films, **urls).returncode == 0
        key = matinee(home, "key", "create", "--name", "load", "--scope", "write", **urls).stdout.strip()
        for follower in (one, two):
            follower.follow(leader)
            follower.start()
        # Without a local tier, so that every read is one of a copy.
        settings = {"MATINEE_LOCAL_CACHE_BYTES": "0", **urls_of(leader, one, replace(two, port=relay.port))}
        with start_server(home, MATINEE_ACCESS_LOG="off", **settings) as server:
            yield Fleet(leader, one, two, disk, relay, server, key)


def urls_of(leader: PostgresNode, *followers: PostgresNode) -> dict[str, str]:
    """Return the settings of a server that writes to one node and reads from the others."""
    read_from = ",".join(node.url("matinee") for node in followers)
    return {"DATABASE_URL": leader.url("matinee"), "DATABASE_FOLLOWER_URLS": read_from}


@contextmanager
def under_load(fleet: Fleet) -> Iterator[Load]:
    """Run the load around a fault; before and after it, everybody is well and caught up."""
    eventually(fleet.healthy, lambda names: names == ["leader", "one", "two"], 30)
    with Load(fleet.server.url, fleet.key, MOVIES) as load:
        eventually(lambda: len(load.seen("write")), lambda writes: writes >= 2)
        yield load
        eventually(fleet.healthy, lambda names: names == ["leader", "one", "two"], 30)
        written = len(load.seen("write"))
        eventually(lambda: [item.status for item in load.seen("write")[written:]], lambda seen: seen[-2:] == [201, 201], 15)


def for_a_while(load: Load, reads: int = 400) -> None:
    """Let the load go on for so many reads more."""
    enough = len(load.history) + reads
    eventually(lambda: len(load.history), lambda done: done >= enough, 30)


def send_log_until_the_disk_of_one_is_full(fleet: Fleet) -> None:
    """Let the leader begin one segment of its log after another, until the first follower says that it has no room for it."""
    said = fleet.one.log.stat().st_size
    with psycopg.connect(fleet.leader.url("matinee"), autocommit=True) as session:

        def begin_a_segment() -> str:
            session.execute("SELECT pg_logical_emit_message(true, 'tests', ''), pg_switch_wal()")
            return fleet.one.log.read_bytes()[said:].decode()

        eventually(begin_a_segment, lambda log: "No space left on device" in log)


def assert_unharmed(fleet: Fleet, load: Load, bound_s: float = BOUND_S) -> None:
    """Check the history: nothing failed, stale beyond the bound, behind what was shown, lost, or slow."""
    assert loads.failed_reads(load) == []
    assert loads.reads_behind_a_shown_position(load) == []
    assert loads.reads_staler_than_told(load) == []
    assert loads.stale_reads(load, bound_s) == []
    assert loads.lost_writes(load, fleet.positions()) == []
    assert loads.p99_s(load) < 1.0
    assert len(load.seen("read")) > 300


def assert_every_write_done(load: Load) -> None:
    assert {item.status for item in load.seen("write")} == {201}


def test_without_a_fault_reads_are_spread_evenly_and_none_goes_to_the_leader(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        before = fleet.copies()
        for_a_while(load, 900)
        after = fleet.copies()

    reads = {name: after[name]["reads"] - before[name]["reads"] for name in after}
    assert reads["leader"] == 0
    assert abs(reads["one"] - reads["two"]) <= 0.1 * (reads["one"] + reads["two"]) / 2
    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_is_killed_and_comes_back(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        fleet.one.send(signal.SIGKILL)
        eventually(fleet.healthy, lambda names: names == ["leader", "two"])
        for_a_while(load)
        fleet.one.start()

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_is_killed_and_comes_back_while_the_log_cannot_be_written(fleet: Fleet) -> None:
    settings = urls_of(fleet.leader, fleet.one, replace(fleet.two, port=fleet.relay.port))
    settings |= {"MATINEE_LOCAL_CACHE_BYTES": "0", "MATINEE_LOG_FILE": "/dev/full"}
    with start_server(fleet.server.home, **settings) as server:
        unlogged = replace(fleet, server=server)
        with under_load(unlogged) as load:
            fleet.one.send(signal.SIGKILL)
            eventually(unlogged.healthy, lambda names: names == ["leader", "two"])
            for_a_while(load)
            fleet.one.start()
        metrics = server.get("/metrics").text

    assert "matinee_log_lines_lost_total" in metrics
    assert "matinee_log_lines_lost_total 0.0" not in metrics
    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_freezes_and_thaws(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        fleet.two.send(signal.SIGSTOP)
        eventually(fleet.healthy, lambda names: names == ["leader", "one"])
        for_a_while(load)
        fleet.two.send(signal.SIGCONT)

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_is_half_open_and_comes_back(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        fleet.relay.hold()
        eventually(fleet.healthy, lambda names: names == ["leader", "one"])
        for_a_while(load)
        fleet.relay.go_on()

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_is_restarted(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        fleet.one.end()
        fleet.one.start()
        for_a_while(load)

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_one_session_of_a_follower_is_killed_which_ends_them_all(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        with psycopg.connect(fleet.two.url("matinee"), autocommit=True) as session:
            row = session.execute("SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%reads' LIMIT 1").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)
        for_a_while(load)

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_refuses_connections(fleet: Fleet) -> None:
    with under_load(fleet) as load, psycopg.connect(fleet.one.url("postgres"), autocommit=True) as session:
        rules = fleet.one.data / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text("local all all trust\n")  # nobody may come in over TCP any more
        session.execute("SELECT pg_reload_conf()")
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'matinee-%'")
        eventually(fleet.healthy, lambda names: names == ["leader", "two"])
        for_a_while(load)
        rules.write_text(before)
        session.execute("SELECT pg_reload_conf()")

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_that_no_longer_replays_is_left_out(fleet: Fleet) -> None:
    with under_load(fleet) as load, psycopg.connect(fleet.one.url("postgres"), autocommit=True) as session:
        session.execute("SELECT pg_wal_replay_pause()")
        for_a_while(load, 700)
        left_out = fleet.copies()["one"]
        session.execute("SELECT pg_wal_replay_resume()")

    assert left_out["staleness_s"] > BOUND_S
    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_follower_whose_disk_is_full_is_left_out_until_there_is_room(fleet: Fleet) -> None:
    if fleet.disk is None:
        pytest.skip("this process may not mount the small disk that is to be filled")
    with under_load(fleet) as load:
        fleet.disk.fill()
        send_log_until_the_disk_of_one_is_full(fleet)
        eventually(lambda: fleet.copies()["one"]["staleness_s"], lambda staleness_s: staleness_s > BOUND_S)
        for_a_while(load)
        fleet.disk.free()
        if fleet.one.state() == "dead":
            fleet.one.start()
        eventually(lambda: fleet.copies()["one"]["staleness_s"], lambda staleness_s: staleness_s < BOUND_S, 30)

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_a_lock_that_is_replayed_cancels_no_read_that_anybody_sees(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        for _ in range(3):
            with psycopg.connect(fleet.leader.url("matinee")) as session:
                session.execute("ALTER TABLE movie_document ADD COLUMN tried int")
                session.execute("ALTER TABLE movie_document DROP COLUMN tried")
            for_a_while(load, 100)

    assert_unharmed(fleet, load)
    assert_every_write_done(load)


def test_all_followers_are_gone_and_the_leader_serves(fleet: Fleet) -> None:
    with under_load(fleet) as load:
        before = fleet.copies()["leader"]["reads"]
        for node in (fleet.one, fleet.two):
            node.send(signal.SIGKILL)
        eventually(fleet.healthy, lambda names: names == ["leader"])
        for_a_while(load)
        state = fleet.server.get("/readyz").json()
        served = fleet.copies()["leader"]["reads"] - before
        for node in (fleet.one, fleet.two):
            node.start()

    assert state["status"] == "degraded"
    assert served > 200
    assert_unharmed(fleet, load)
    assert_every_write_done(load)


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_the_leader_is_gone_reads_go_on_and_writes_are_refused_at_once(fleet: Fleet, fault: signal.Signals) -> None:
    with under_load(fleet) as load:
        fleet.leader.send(fault)
        eventually(lambda: fleet.server.get("/readyz").json()["status"], lambda status: status == "degraded")
        for_a_while(load, 200)
        since_s = load.history[-1].began_s
        for_a_while(load, 400)
        refused = load.seen("write", since_s)
        page = fleet.server.get("/admin/")
        fleet.leader.send(signal.SIGCONT) if fault == signal.SIGSTOP else fleet.leader.start()

    assert {item.status for item in refused} == {503}
    assert max(item.took_s for item in refused) < 0.5
    assert (page.status_code, page.headers["retry-after"], "read-only" in page.text) == (503, "1", True)
    assert_unharmed(fleet, load, bound_s=60)  # nobody can say how stale the others are, and they say that

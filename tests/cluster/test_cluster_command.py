"""`matinee cluster` as its operators meet it: real commands, one after another, over one real cluster."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests import postgres
from tests.cluster.children import alive, children
from tests.processes import environment, eventually, matinee

pytestmark = pytest.mark.skipif(not postgres.wanted(), reason="it makes PostgreSQL by itself: once is enough, in that run")

# What a node is made with stays with it: the commands after this one are the real ones.
UP_WITHOUT_FSYNC = """
from matinee.cli import main
from matinee.ops import postgres
postgres.SETTINGS.update(postgres.FOR_TESTS)
main.main()
"""
_BROKEN_UP = """
import sys
from matinee.cli import cluster_up, main
cluster_up._MATINEE = [sys.executable, "-c", "raise SystemExit('planted')"]
main.main()
"""
_PARTS = ["leader", "follower-1", "follower-2", "server-1"]


def cluster(home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the cluster of a data folder."""
    return matinee(home, "cluster", *words, **more)


def changed_up(home: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `matinee cluster up` with a change of its own parts."""
    command = [sys.executable, "-c", program, "cluster", "up", *words]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120, check=False)


def nodes(home: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of the status by their names."""
    return {row["name"]: row for row in json.loads(cluster(home, "status", "--json").stdout)}


def well(home: Path) -> bool:
    """Return whether every node runs, and the server reads from every copy."""
    rows = nodes(home).values()
    seen = [row["seen_by_server"] for row in rows if row["role"] != "server"]
    return all(row["state"] == "running" and not row["trouble"] for row in rows) and all(
        line is not None and line["status"] == "healthy" for line in seen
    )


def url(home: Path, *words: str) -> str:
    """Return a node's address with its password."""
    return cluster(home, "url", *words, "--passwords").stdout.strip()


def add_film(home: Path, title: str) -> None:
    """Write a movie on the leader."""
    film = json.dumps({"title": title}).encode()
    done = matinee(home, "import", "ndjson", "-", stdin=film, DATABASE_URL=url(home, "leader"))
    assert done.returncode == 0, done.stderr


def listening(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def drop_slot(home: Path, name: str) -> int:
    """Drop a follower's replication slot, as soon as nobody uses it, and return how many were dropped."""
    unused = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
    with psycopg.connect(url(home, "leader", "--owner"), autocommit=True) as owner:
        return len(owner.execute(unused, [name]).fetchall())


def ports(rows: dict[str, dict[str, Any]]) -> list[int]:
    """Return the ports of the nodes."""
    return [int(row["address"].rpartition(":")[2]) for row in rows.values()]


def family(rows: dict[str, dict[str, Any]]) -> set[int]:
    """Return the ids of the nodes' processes and of all that is below them."""
    pids = {row["pid"] for row in rows.values()}
    return pids.union(*(children(pid) for pid in pids))


@contextmanager
def folder() -> Iterator[Path]:
    """Make a data folder, and end the cluster that was made in it."""
    # Not under the tests' own folder, which only this user may enter: PostgreSQL runs as another one when this is root.
    home = Path(tempfile.mkdtemp(prefix="matinee-cluster-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        cluster(home, "down", "--delete")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Return the data folder of a cluster with two followers, which all tests here share."""
    with folder() as home:
        up = changed_up(home, UP_WITHOUT_FSYNC, "--followers", "2", "--no-sample")
        assert up.returncode == 0, up.stderr
        yield home


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a data folder in which there is no cluster yet."""
    with folder() as home:
        yield home


@pytest.fixture
def home(made: Path) -> Iterator[Path]:
    """Return that folder, the cluster in it whole; whatever a test leaves broken, the next one does not meet."""
    yield made
    if not well(made):
        cluster(made, "up", "--no-sample")
        eventually(lambda: well(made), bool, 20)


def test_status_shows_a_leader_two_followers_that_stream_and_a_server(home: Path) -> None:
    seen = cluster(home, "status", "--json")

    rows = json.loads(seen.stdout)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert [row["name"] for row in rows] == _PARTS
    assert [row["role"] for row in rows] == ["leader", "follower", "follower", "server"]
    assert {(row["state"], row["trouble"]) for row in rows} == {("running", None)}
    assert [row["lag_bytes"] for row in rows[1:3]] == [0, 0]
    assert rows[3]["readiness"] == {"status": "ready", "reason": None}


def test_up_again_says_so_and_starts_nothing(home: Path) -> None:
    before = {name: row["pid"] for name, row in nodes(home).items()}

    again = cluster(home, "up", "--no-sample")

    assert again.returncode == 0
    assert again.stderr.startswith("The cluster is up already.\n")
    assert {name: row["pid"] for name, row in nodes(home).items()} == before


def test_what_is_written_on_the_leader_is_read_from_every_follower(home: Path) -> None:
    before = nodes(home)["leader"]["position"]

    add_film(home, "Written on the leader")

    seen = eventually(lambda: nodes(home), lambda rows: rows["follower-2"]["position"] == before + 1)
    assert [seen[name]["position"] for name in _PARTS[:3]] == [before + 1] * 3
    found = httpx.get(f"{seen['server-1']['address']}/v1/search?q=written+leader").json()
    assert [item["title"] for item in found["items"]] == ["Written on the leader"]


def test_a_follower_that_is_killed_and_started_again_catches_up(home: Path) -> None:
    killed = cluster(home, "kill", "follower-1")
    add_film(home, "Written while it was dead")
    seen = cluster(home, "status")
    dead, position = nodes(home)["follower-1"], nodes(home)["leader"]["position"]

    started = cluster(home, "start", "follower-1")

    assert killed.stderr == "follower-1 is dead. `matinee cluster start follower-1` brings it back.\n"
    assert (seen.returncode, dead["state"], dead["pid"]) == (1, "dead", None)
    assert (started.returncode, started.stderr) == (0, "follower-1 runs.\n")
    eventually(lambda: nodes(home)["follower-1"]["position"], lambda at: at == position)
    eventually(lambda: well(home), bool)


def test_a_frozen_follower_is_told_and_freezes_no_command_and_no_reader(home: Path) -> None:
    address = nodes(home)["server-1"]["address"]
    stopped = cluster(home, "stop", "follower-2")
    read = httpx.get(f"{address}/v1/movies", timeout=5)
    seen, start = cluster(home, "status", "--json"), cluster(home, "start", "follower-2")

    going_on = cluster(home, "cont", "follower-2")

    states = {row["name"]: row["state"] for row in json.loads(seen.stdout)}
    assert (stopped.returncode, read.status_code, seen.returncode) == (0, 200, 1)
    assert states == dict.fromkeys(_PARTS, "running") | {"follower-2": "stopped"}
    assert (start.returncode, "`matinee cluster cont follower-2` lets it go on" in start.stderr) == (2, True)
    assert going_on.stderr == "follower-2 is running.\n"
    eventually(lambda: well(home), bool)


def test_up_brings_back_what_is_dead_and_what_is_frozen(home: Path) -> None:
    cluster(home, "kill", "server-1")
    cluster(home, "kill", "leader")
    cluster(home, "stop", "follower-1")

    up = cluster(home, "up", "--no-sample")

    assert up.returncode == 0
    assert "follower-1 was frozen; it goes on.\nStarting leader ...\nStarting server-1 ...\n" in up.stderr
    eventually(lambda: well(home), bool)


def test_a_follower_whose_slot_is_gone_is_told_and_made_anew(home: Path) -> None:
    cluster(home, "kill", "follower-2")
    eventually(lambda: drop_slot(home, "follower_2"), lambda dropped: dropped == 1)
    cluster(home, "start", "follower-2")
    told = nodes(home)["follower-2"]["trouble"]

    rebuilt = cluster(home, "rebuild", "follower-2")

    assert told == "its replication slot is missing: it never catches up again; rebuild it"
    assert (rebuilt.returncode, rebuilt.stderr) == (0, "follower-2 was made anew and runs.\n")
    eventually(lambda: well(home), bool)


def test_an_unknown_node_is_refused_with_the_nearest_name(home: Path) -> None:
    refused = cluster(home, "kill", "folower-1")
    leader = cluster(home, "rebuild", "leader")

    names = "The nodes are leader, follower-1, follower-2, server-1."
    assert refused.stderr == f"matinee: There is no node 'folower-1'; did you mean follower-1? {names}\n"
    assert leader.stderr.startswith("matinee: leader is no follower;")
    assert (refused.returncode, leader.returncode) == (2, 2)


def test_urls_hide_their_passwords_unless_they_are_asked_for(home: Path) -> None:
    hidden = json.loads(cluster(home, "url", "--json").stdout)
    shown = json.loads(cluster(home, "url", "--json", "--passwords").stdout)
    passwords = json.loads((home / "cluster" / "cluster.json").read_text())["passwords"]

    assert list(hidden) == list(shown) == _PARTS
    assert [secret for secret in passwords.values() if secret in json.dumps(hidden)] == []
    assert f"matinee_writer:{passwords['matinee_writer']}@" in shown["leader"]
    assert f"matinee_reader:{passwords['matinee_reader']}@" in shown["follower-1"]


def test_commands_beside_a_running_cluster_use_it_without_an_address(home: Path) -> None:
    no_url = {"DATABASE_URL": ""}
    key = matinee(home, "key", "create", "--name", "beside", **no_url)
    listed = matinee(home, "key", "list", "--json", **no_url)
    shown = matinee(home, "config", "show", **no_url)
    migrated = matinee(home, "migrate", **no_url)
    status = matinee(home, "status", **no_url)

    passwords = json.loads((home / "cluster" / "cluster.json").read_text())["passwords"].values()
    rows = {line.split("\t")[0]: line.split("\t") for line in shown.stdout.splitlines()}
    said = f"Using the cluster in {home}/cluster (leader leader, {nodes(home)['leader']['address']}).\n"
    assert [done.returncode for done in (key, listed, shown, migrated, status)] == [0] * 5
    assert "beside" in {row["name"] for row in json.loads(listed.stdout)}
    assert (key.stderr.startswith(said), migrated.stderr.startswith(said)) == (True, True)
    assert [rows[name][2] for name in ("DATABASE_URL", "DATABASE_FOLLOWER_URLS")] == [f"cluster in {home}/cluster"] * 2
    assert status.stdout.startswith(f"{nodes(home)['server-1']['ops_address']}: ready")
    assert [secret for secret in passwords if secret in shown.stdout + key.stderr + migrated.stderr] == []


def test_a_stated_database_goes_before_the_cluster(home: Path, tmp_path: Path) -> None:
    done = matinee(home, "migrate", DATABASE_URL=f"sqlite:///{tmp_path}/own.sqlite3")

    assert (done.returncode, "Using the cluster" in done.stderr) == (0, False)
    assert (tmp_path / "own.sqlite3").exists()


def test_a_node_is_found_by_its_role(home: Path) -> None:
    addresses = {name: row["address"] for name, row in nodes(home).items()}
    shown = [cluster(home, "url", role).stdout.strip() for role in ("server", "leader", "follower", "database")]

    refused = cluster(home, "kill", "follower")

    assert shown[0] == addresses["server-1"]
    assert addresses["leader"] in shown[1]
    assert addresses["follower-1"] in shown[2]
    assert addresses["leader"] in shown[3]
    assert refused.returncode == 2
    assert refused.stderr == "matinee: There are 2 nodes of the role follower; name one: follower-1, follower-2.\n"


def test_the_role_of_the_readers_cannot_write_even_on_the_leader(home: Path) -> None:
    user, leader = url(home, "follower-1").partition("@")[0], nodes(home)["leader"]["address"]

    with psycopg.connect(f"{user}@{leader}/matinee", autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("UPDATE log_head SET position = 0")


def test_a_follower_that_is_added_later_is_read_from_too(open_folder: Path) -> None:
    alone = changed_up(open_folder, UP_WITHOUT_FSYNC, "--followers", "0", "--no-sample")

    grown = changed_up(open_folder, UP_WITHOUT_FSYNC, "--followers", "1", "--no-sample")

    assert (alone.returncode, grown.returncode) == (0, 0)
    assert "server-1 is started anew, to know of every follower." in grown.stderr
    assert nodes(open_folder)["follower-1"]["seen_by_server"]["status"] == "healthy"


def test_an_up_that_fails_ends_what_it_started_and_says_why(open_folder: Path) -> None:
    failed = changed_up(open_folder, _BROKEN_UP, "--followers", "0")

    assert failed.returncode == 2
    assert "what this command started is being ended." in failed.stderr
    assert "matinee: `matinee migrate` failed on the leader:\nplanted\nThe leader's log is " in failed.stderr
    row = nodes(open_folder)["leader"]
    assert (row["state"], [port for port in ports({"leader": row}) if listening(port)]) == ("dead", [])
    assert "database system is shut down" in cluster(open_folder, "logs", "leader").stdout


def test_down_leaves_no_process_and_no_port_and_up_finds_the_same_catalogue(home: Path) -> None:
    before = nodes(home)
    pids = family(before)

    down = cluster(home, "down")

    assert (down.returncode, down.stderr) == (0, "The cluster is down. `matinee cluster up` starts it again.\n")
    assert (alive(pids), [port for port in ports(before) if listening(port)]) == (set(), [])
    beside = matinee(home, "key", "create", "--name", "x", DATABASE_URL="")
    assert (beside.returncode, beside.stderr) == (
        2,
        f"matinee: The cluster in {home}/cluster does not run: start it with `matinee cluster up`, or set DATABASE_URL.\n",
    )
    assert cluster(home, "up", "--no-sample").returncode == 0
    after = nodes(home)
    assert (after["leader"]["position"], ports(after)) == (before["leader"]["position"], ports(before))


def test_where_there_is_no_cluster_no_command_makes_anything(tmp_path: Path) -> None:
    commands = [("status",), ("down", "--delete"), ("kill", "leader"), ("url",)]

    done = [cluster(tmp_path / "nowhere", *words) for words in commands]

    assert [command.returncode for command in done] == [2] * len(commands)
    assert all("make one with `matinee cluster up`" in command.stderr for command in done)
    assert not (tmp_path / "nowhere").exists()

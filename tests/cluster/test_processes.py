"""The controller of processes: a signal reaches what was started and all that is below it, and nothing else."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from matinee.errors import OperatorError, PortTaken
from matinee.ops import cluster_file, processes
from matinee.ops.processes import Started
from tests.cluster.children import alive, children
from tests.processes import eventually

_FAMILY = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        break
signal.pause()
"""
# The signal is waited for, not handled: one that is handled just before a pause leaves it waiting for ever.
_POLITE = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print(flush=True)
signal.sigwait([signal.SIGTERM])
print("farewell")
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[Started, set[int]]]:
    """Return a process that does not end when it is asked, with all the processes below it."""
    started = processes.start([sys.executable, "-c", _FAMILY], tmp_path / "family.log")
    below = eventually(lambda: children(started.pid), lambda found: len(found) == 2)
    yield started, below
    started.send(signal.SIGKILL)
    eventually(started.state, lambda state: state == "dead")


def states(pids: set[int]) -> set[str]:
    """Return the states of processes, as letters of /proc."""
    return {(processes._stat(pid) or "?")[0] for pid in pids}


def test_a_stop_reaches_the_children_and_a_cont_too(family: tuple[Started, set[int]]) -> None:
    started, below = family

    started.send(signal.SIGSTOP)
    eventually(lambda: states({started.pid, *below}), lambda seen: seen == {"T"})
    assert started.state() == "stopped"
    started.send(signal.SIGCONT)

    eventually(lambda: states({started.pid, *below}), lambda seen: "T" not in seen)
    assert started.state() == "running"


def test_a_kill_leaves_no_child_behind(family: tuple[Started, set[int]]) -> None:
    started, below = family

    started.send(signal.SIGKILL)

    eventually(lambda: alive({started.pid, *below}), lambda left: left == set())
    assert started.state() == "dead"


def test_what_is_stopped_goes_on_first_and_may_end_in_its_own_way(tmp_path: Path) -> None:
    log = tmp_path / "polite.log"
    started = processes.start([sys.executable, "-c", _POLITE], log)
    eventually(log.read_text, bool)
    started.send(signal.SIGSTOP)

    started.end(within_s=10)

    assert (started.state(), log.read_text().split()) == ("dead", ["farewell"])


def test_what_is_stopped_and_does_not_end_when_asked_is_killed(family: tuple[Started, set[int]]) -> None:
    started, below = family
    started.send(signal.SIGSTOP)

    started.end(within_s=0.1)

    assert eventually(lambda: alive({started.pid, *below}), lambda left: left == set()) == set()


def test_a_process_that_has_the_id_of_another_one_is_not_signalled(family: tuple[Started, set[int]]) -> None:
    started, below = family
    before = replace(started, tick=started.tick - 1)

    for number in (signal.SIGSTOP, signal.SIGKILL):
        before.send(number)
    before.end(signal.SIGKILL, within_s=0)

    assert (before.state(), started.state()) == ("dead", "running")
    assert alive(below) == below


def test_what_ran_before_the_system_was_started_anew_is_dead(
    family: tuple[Started, set[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_file.new(tmp_path)
    cluster._add("leader", "leader").postgres.process = family[0]
    cluster.save()
    assert [node.state() for node in (cluster_file.load(tmp_path) or cluster).nodes] == ["running"]

    monkeypatch.setattr(cluster_file, "boot_id", lambda: "another")

    found = cluster_file.load(tmp_path)
    assert found is not None
    assert [(node.name, node.process) for node in found.nodes] == [("leader", None)]


def test_the_state_file_is_for_its_owner_alone_and_one_that_is_torn_is_told(tmp_path: Path) -> None:
    cluster_file.new(tmp_path).save()
    path = tmp_path / "cluster.json"
    mode = path.stat().st_mode & 0o777
    path.write_text(path.read_text()[:40])

    with pytest.raises(OperatorError, match="cannot be read"):
        cluster_file.load(tmp_path)

    assert (mode, [path.name for path in tmp_path.iterdir()]) == (0o600, ["cluster.json"])


def test_two_commands_do_not_change_a_cluster_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_file, "LOCK_WITHIN_S", 0.05)

    with (
        cluster_file.alone(tmp_path),
        pytest.raises(OperatorError, match="Another `matinee cluster` command"),
        cluster_file.alone(tmp_path),
    ):
        pass
    with cluster_file.alone(tmp_path):
        pass


def test_a_free_port_is_none_that_the_system_gives_to_clients() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    ports = {processes.free_port() for _ in range(20)}

    assert max(ports) < lowest
    assert len(ports) > 10


def test_a_port_that_another_program_listens_on_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(PortTaken, match="another program does"):
            processes.require_free("server-1", other.getsockname()[1])


def test_a_command_that_does_not_end_is_given_up_at_its_deadline() -> None:
    with pytest.raises(OperatorError, match=r"no answer within 0\.2 s"):
        processes.run(["sleep", "30"], within_s=0.2)

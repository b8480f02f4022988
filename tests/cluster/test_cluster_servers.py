"""`matinee cluster` with several servers behind a balancer, as its operators meet it: real commands over one real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from matinee.ops.topology import BALANCERS
from tests import postgres
from tests.cluster.test_cluster_command import UP_WITHOUT_FSYNC, add_film, changed_up, cluster, folder, nodes
from tests.processes import eventually

pytestmark = [
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: SQLite has no cluster"),
]
_UP = ("--servers", "2", "--followers", "1", "--redis", "--no-sample")


@pytest.fixture(scope="module", params=BALANCERS)
def made(request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """Return the data folder of a cluster with a balancer of each kind, and which kind it is."""
    with folder() as home:
        up = changed_up(home, UP_WITHOUT_FSYNC, *_UP, "--balancer", request.param)
        assert up.returncode == 0, up.stderr
        add_film(home, "Film of the cluster")
        yield home, request.param


def done(home: Path, *words: str) -> str:
    """Run a command that must succeed and return what it said."""
    ran = cluster(home, *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def refusal(home: Path, *words: str) -> str:
    """Run a command that must be refused and return why."""
    ran = cluster(home, *words)
    assert ran.returncode == 2, ran.stderr
    return ran.stderr


def film(home: Path) -> int:
    """Return the status of the film's page, asked of the balancer."""
    return httpx.get(nodes(home)["balancer"]["address"] + "/v1/movies/1", timeout=5).status_code


def test_every_node_runs_and_the_balancer_answers_for_the_servers(made: tuple[Path, str]) -> None:
    home, _ = made

    shown = {name: (row["role"], row["state"], row["trouble"]) for name, row in nodes(home).items()}

    assert shown == {
        "redis": ("redis", "running", None),
        "leader": ("leader", "running", None),
        "follower-1": ("follower", "running", None),
        "server-1": ("server", "running", None),
        "server-2": ("server", "running", None),
        "balancer": ("balancer", "running", None),
    }
    assert film(home) == 200


def test_each_server_writes_the_log_of_its_node_itself_and_so_rotates_it(made: tuple[Path, str]) -> None:
    home, _ = made
    log = Path(nodes(home)["server-1"]["log"])

    assert httpx.get(nodes(home)["server-1"]["address"] + "/v1/movies/987654", timeout=5).status_code == 404

    eventually(log.read_text, lambda text: "/v1/movies/987654" in text, 20)
    assert f"MATINEE_LOG_FILE={log}" in (home / "cluster/config/server-1.env").read_text().splitlines()


def test_up_again_finds_everything_running(made: tuple[Path, str]) -> None:
    assert "The cluster is up already." in done(made[0], "up")


def test_a_drained_server_gets_nothing_until_it_is_brought_back(made: tuple[Path, str]) -> None:
    home, kind = made
    done(home, "drain", "server-1")
    drained = nodes(home)["server-1"]["balancer"]
    seen = [film(home) for _ in range(5)]
    done(home, "undrain", "server-1")

    assert drained == ("DRAIN" if kind == "haproxy" else None)  # nginx does not say
    assert seen == [200] * 5


def test_a_rolling_restart_gives_every_server_a_new_process_and_a_setting(made: tuple[Path, str]) -> None:
    home, _ = made
    before = {name: nodes(home)[name]["pid"] for name in ("server-1", "server-2")}

    said = done(home, "rolling-restart", "--set", "MATINEE_HEDGE_MS=77")

    after = {name: nodes(home)[name]["pid"] for name in before}
    assert "2 server(s) were started anew." in said
    assert not set(before.values()) & set(after.values())
    assert "MATINEE_HEDGE_MS=77" in (home / "cluster" / "config" / "server-2.env").read_text()
    assert film(home) == 200


def test_a_server_is_added_and_another_one_removed(made: tuple[Path, str]) -> None:
    home, _ = made
    done(home, "add", "server")
    added = [name for name, row in nodes(home).items() if row["role"] == "server" and row["state"] == "running"]
    done(home, "remove", "server-1")
    left = [name for name, row in nodes(home).items() if row["role"] == "server"]
    done(home, "add", "server")  # the name is free again, and so is its place at the balancer

    assert (added, left) == (["server-1", "server-2", "server-3"], ["server-2", "server-3"])
    assert film(home) == 200
    done(home, "remove", "server-3")


def test_up_with_more_servers_gives_the_new_one_its_share_too(made: tuple[Path, str]) -> None:
    home, kind = made
    done(home, "up", "--servers", "2", "--micro-cache")
    cluster(home, "kill", next(name for name, row in nodes(home).items() if row["role"] == "server"))

    seen = eventually(lambda: [film(home) for _ in range(5)], lambda statuses: statuses == [200] * 5)

    assert seen == [200] * 5
    assert "s-maxage" in (home / "cluster" / "config" / f"balancer.{'cfg' if kind == 'haproxy' else 'conf'}").read_text()
    done(home, "up")


def test_a_balancer_that_was_killed_is_brought_back_by_up(made: tuple[Path, str]) -> None:
    home, _ = made
    done(home, "kill", "balancer")

    done(home, "up")

    assert eventually(lambda: film(home), lambda status: status == 200) == 200


def test_what_cannot_be_done_is_refused_with_what_to_type(made: tuple[Path, str]) -> None:
    home, kind = made
    other = next(balancer for balancer in BALANCERS if balancer != kind)

    assert "was made without --ha and stays so" in refusal(home, "up", "--ha")
    assert f"The balancer is {kind} and stays so" in refusal(home, "up", "--balancer", other)
    assert "choose one of: haproxy, nginx, none" in refusal(home, "up", "--balancer", "apache")
    assert "type one of: server, follower" in refusal(home, "add", "leader")
    assert "only servers are behind the balancer" in refusal(home, "drain", "redis")
    assert "write NAME=VALUE" in refusal(home, "rolling-restart", "--set", "nonsense")
    assert "made with --ha" in refusal(home, "switchover")

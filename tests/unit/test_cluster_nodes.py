"""Nodes of a cluster by name and by role, and which cluster a command uses, without starting any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matinee.cli import cluster, cluster_home, cluster_settings
from matinee.errors import OperatorError
from matinee.ops import cluster_file
from matinee.ops.cluster import Cluster
from matinee.ops.database_node import DatabaseNode
from matinee.ops.engines import EngineNode
from matinee.ops.patroni import PatroniNode
from matinee.ops.service import ServerNode
from matinee.ops.topology import Place


def available(home: Path, leader: str = "database-2") -> Cluster:
    """Return a cluster as `--ha` makes it; none of its processes runs."""
    made = cluster_file.new(home)
    made.shape.high_availability = True
    for number in (1, 2, 3):
        name = f"database-{number}"
        node = PatroniNode(name, home / name, 5000 + number, made.passwords["postgres"], rest_port=6000 + number)
        made.databases.append(DatabaseNode(node, "leader" if name == leader else "follower"))
        made.servers.append(ServerNode(f"server-{number}", 8000 + number, home / "log", [], {}))
    for name, role in (
        ("etcd-1", "etcd"),
        ("etcd-2", "etcd"),
        ("redis", "redis"),
        ("front", "front"),
        ("balancer", "balancer"),
    ):
        made.engines.append(EngineNode(Place(name, role, "local", "127.0.0.1", {"port": 7000}), [], home / "log"))
    return made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leader", "postgresql://matinee_writer:***@127.0.0.1:5002/matinee"),
        ("follower", "postgresql://matinee_reader:***@127.0.0.1:5001/matinee"),
        ("database", "postgresql://matinee_reader:***@127.0.0.1:5001/matinee"),
        ("database-2", "postgresql://matinee_writer:***@127.0.0.1:5002/matinee"),
        ("server", "http://127.0.0.1:8001"),
        ("server-3", "http://127.0.0.1:8003"),
        ("front", "127.0.0.1:7000"),
        ("redis", "127.0.0.1:7000"),
        ("etcd", "127.0.0.1:7000"),
        ("balancer", "http://127.0.0.1:7000"),
    ],
)
def test_a_url_is_printed_for_every_name_and_role_under_patroni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, expected: str
) -> None:
    monkeypatch.setattr(cluster_home, "load", lambda: available(tmp_path))

    cluster.url(name)

    assert capsys.readouterr().out == f"{expected}\n"


def test_without_a_leader_its_url_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_home, "load", lambda: available(tmp_path, leader="none"))

    with pytest.raises(OperatorError, match="This cluster has no leader; see `matinee cluster status`"):
        cluster.url("leader")


@pytest.mark.parametrize("role", ["server", "follower", "database", "etcd"])
def test_a_change_of_one_node_of_several_must_name_it(tmp_path: Path, role: str) -> None:
    with pytest.raises(
        OperatorError, match=f"nodes of the role {role}; name one: {role[:4]}" if role != "follower" else "name one"
    ):
        available(tmp_path).node(role)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return a cluster whose state file lies in a data folder, which the environment names."""
    for name in ("DATABASE_URL", "DATABASE_FOLLOWER_URLS", "REDIS_URL", "MEMCACHED_URL", "PORT", "MATINEE_HOST"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MATINEE_HOME", str(tmp_path))
    (tmp_path / "cluster").mkdir()
    made = available(tmp_path / "cluster")
    made.save()
    return made


@pytest.fixture
def running(kept: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return that cluster, as if all of its nodes ran and the roles were as they are kept."""
    for kind in (DatabaseNode, ServerNode, EngineNode):
        monkeypatch.setattr(kind, "state", lambda _: "running")
    monkeypatch.setattr(Cluster, "look_who_leads", lambda _: None)
    return kept


def test_a_running_cluster_gives_the_addresses_that_are_not_stated(
    running: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    config = cluster_settings.load_settings()

    assert config.database_url == running.writer_url()
    assert config.follower_urls == tuple(running.reader_url(node) for node in running.followers)
    assert config.redis_url == f"redis://matinee:{running.passwords['redis']}@127.0.0.1:7000/0"
    assert capsys.readouterr().err == f"Using the cluster in {running.home} (leader database-2, 127.0.0.1:5002).\n"
    assert cluster_settings.source_of("REDIS_URL") == f"cluster in {running.home}"
    assert cluster_settings.source_of("PORT") is None


def test_as_the_owner_every_address_is_the_owners(running: Cluster) -> None:
    config = cluster_settings.load_settings(as_owner=True)

    assert config.database_url == running.owner_url()
    assert config.follower_urls == tuple(running.owner_url(node) for node in running.followers)


@pytest.mark.parametrize(("name", "value"), [("DATABASE_URL", "sqlite:////x.db"), ("DATABASE_URL", "postgresql://h/d")])
def test_the_environment_goes_before_the_cluster(
    running: Cluster, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    config = cluster_settings.load_settings()

    assert (config.database_url, config.follower_urls, config.redis_url) == (value, (), "")


def test_a_stated_cache_stays_the_cache(running: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMCACHED_URL", "memcached://cache")

    config = cluster_settings.load_settings()

    assert (config.redis_url, config.memcached_url) == ("", "memcached://cache")


@pytest.mark.parametrize(("variables", "expected"), [({}, "http://127.0.0.1:8001"), ({"PORT": "9000"}, None)])
def test_the_server_that_is_looked_at_is_the_clusters_unless_one_is_stated(
    running: Cluster, variables: dict[str, str], expected: str | None
) -> None:
    environ = {"MATINEE_HOME": str(running.home.parent), **variables}

    assert cluster_settings.running_server(environ) == expected


def test_a_cluster_that_does_not_run_is_told_unless_an_own_catalogue_lies_beside_it(kept: Cluster) -> None:
    with pytest.raises(OperatorError, match="does not run: start it with `matinee cluster up`, or set DATABASE_URL"):
        cluster_settings.load_settings()

    (kept.home.parent / "catalogue.sqlite3").touch()

    assert not cluster_settings.load_settings().on_postgres


@pytest.mark.parametrize(("as_owner", "role"), [(False, ""), (True, " --owner")])
def test_a_command_that_changes_something_refuses_to_guess_between_two_catalogues(
    running: Cluster, as_owner: bool, role: str
) -> None:
    own = running.home.parent / "catalogue.sqlite3"
    own.touch()

    with pytest.raises(OperatorError) as caught:
        cluster_settings.load_settings(as_owner=as_owner)

    assert caught.value.detail == (
        f"{own.parent} has a running cluster and a SQLite catalogue; say which one this command means. "
        f"The file: DATABASE_URL=sqlite:///{own} matinee ... "
        f'The cluster: DATABASE_URL="$(matinee cluster url leader{role} --passwords)" matinee ...'
    )


def test_a_command_that_reads_uses_the_cluster_and_names_the_file_that_it_does_not_read(
    running: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    own = running.home.parent / "catalogue.sqlite3"
    own.touch()

    assert cluster_settings.load_settings(is_reading=True).on_postgres
    assert capsys.readouterr().err.endswith(f"(leader database-2, 127.0.0.1:5002), not {own}.\n")


def test_a_stated_file_goes_before_the_cluster_beside_it(running: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    own = running.home.parent / "catalogue.sqlite3"
    own.touch()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{own}")

    assert cluster_settings.load_settings(as_owner=True).database_path == own


@pytest.mark.parametrize("state", ["", "{", "[]", "{}", '{"data": 1, "passwords": [], "databases": [{}], "servers": []}'])
def test_a_state_file_that_is_damaged_is_told_in_a_sentence(kept: Cluster, state: str) -> None:
    (kept.home / "cluster.json").write_text(state)

    with pytest.raises(OperatorError, match=r"cluster.json cannot be read \("):
        cluster_settings.load_settings()


def test_a_cluster_with_certificates_is_reached_by_urls_that_verify_them(running: Cluster) -> None:
    running.shape.tls = True
    node = running.databases[0].postgres
    assert isinstance(node, PatroniNode)
    running.secure(node)

    authorities = f"{running.home}/certificates/ca.crt"
    verified = f"?sslmode=verify-full&sslrootcert={authorities}"
    assert (
        node.url("matinee") == f"postgresql://postgres:{running.passwords['postgres']}@127.0.0.1:{node.port}/matinee{verified}"
    )
    assert running.redis_url() == f"rediss://matinee:{running.passwords['redis']}@127.0.0.1:7000/0?ssl_ca_certs={authorities}"


def test_a_cluster_of_an_older_version_keeps_its_nodes_without_certificates_and_new_passwords(running: Cluster) -> None:
    for name in ("redis", "redis_peer", "patroni", "statistics"):
        del running.passwords[name]
    cluster_file.save(running)
    path = running.home / "cluster.json"
    state = json.loads(path.read_text())
    del state["shape"]["tls"]
    path.write_text(json.dumps(state))

    again = cluster_file.load(running.home)

    assert again is not None
    assert (again.shape.tls, again.redis_url(), "redis" in again.passwords) == (False, "redis://127.0.0.1:7000/0", False)
    assert [node.postgres.authorities for node in again.databases] == [None] * len(again.databases)

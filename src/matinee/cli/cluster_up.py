"""Bring a cluster up: make what is missing, start what does not run, tell the servers of every follower.

Called by cluster.py.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from matinee.cli.output import tell
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.ops import patroni
from matinee.ops.balancing import restart
from matinee.ops.cluster import DATABASE, Cluster, Node
from matinee.ops.database_node import DatabaseNode
from matinee.ops.patroni import PatroniNode
from matinee.ops.postgres import environment, require_installed
from matinee.ops.processes import happens, require_free, run
from matinee.ops.service import ServerNode

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
_USUAL = {"followers": 2, "servers": 1}
_ETCD_NODES = 3  # a majority remains when one is gone
_MAKE_WITHIN_S = 30.0  # a new database is a copy of files
_SEES_ALL_WITHIN_S = 10.0  # a server takes a follower back after two good probes


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; None is what there is, and of a new cluster the usual."""

    followers: int | None = None
    servers: int | None = None
    port: int | None = None
    sample: bool = True
    high_availability: bool | None = None
    balancer: str | None = None
    balance: str | None = None
    micro_cache: bool | None = None
    redis: bool | None = None


def raise_up(cluster: Cluster, config: Config, wanted: Wanted) -> None:
    """Bring the cluster up. Raises: OperatorError; the caller ends what was started."""
    require_installed()
    for name in cluster.drop_unmade():
        tell(f"{name} was only half made; it is made again.")
    # Kept before anything is made: whoever breaks off here gets as many with the next plain `up`.
    before = replace(cluster.shape)
    _choose_shape(cluster, config, wanted)
    cluster.wanted["followers"] = followers = _count(cluster, "followers", wanted.followers, _follower_count(cluster))
    cluster.wanted["servers"] = servers = _count(cluster, "servers", wanted.servers, len(cluster.servers))
    has_balancer = _wants_balancer(cluster, wanted, servers)
    _require_port(cluster, wanted.port, has_balancer=has_balancer)
    _add_engines(cluster, wanted, has_balancer=has_balancer)
    cluster.save()
    is_whole = (_follower_count(cluster), len(cluster.servers)) == (followers, servers) and _all_run(cluster)
    if cluster.databases and is_whole and cluster.shape == before:
        tell("The cluster is up already.")
        return
    _wake(cluster)
    with _loading(cluster, config) as begin_to_load:

        def fill() -> None:
            _fill(cluster, config)
            if wanted.sample and (cluster.sample_is_loading or cluster.is_empty()):
                begin_to_load()

        if cluster.shape.high_availability:
            raise_members(cluster, followers + 1, fill)
        else:
            _raise_followers(cluster, followers, fill)
        _serve(cluster, servers, None if has_balancer else wanted.port)
        _balance(cluster)
    _wait_until_all_is_seen(cluster)


def _balance(cluster: Cluster) -> None:
    """Start the balancer; one that runs already reads its file anew, which may hold other servers by now."""
    node = cluster.engine("balancer")
    if node is not None and node.state() == "running":
        node.reload()
    _start_engines(cluster, "balancer")


def _raise_followers(cluster: Cluster, count: int, fill: Callable[[], object]) -> None:
    _start_engines(cluster, "redis")
    if not cluster.databases:
        tell("Making the leader ...")
        cluster.add_leader()
        cluster.render()
    fill()
    while len(cluster.followers) < count:
        tell(f"Making follower-{len(cluster.followers) + 1} ...")
        cluster.add_follower()


def _choose_shape(cluster: Cluster, config: Config, wanted: Wanted) -> None:
    """Take over what is asked for, and refuse what cannot be changed any more. Raises: OperatorError."""
    shape = cluster.shape
    is_available = shape.high_availability if wanted.high_availability is None else wanted.high_availability
    if cluster.databases and is_available != shape.high_availability:
        kind = "with" if shape.high_availability else "without"
        raise OperatorError(f"This cluster was made {kind} --ha and stays so; begin anew: `matinee cluster down --delete`.")
    shape.high_availability = is_available
    if not cluster.databases:
        shape.tls = is_available  # one instance of PostgreSQL on loopback is protected by its passwords
    if is_available:
        patroni.program()  # refused before anything is made
    if wanted.balancer not in {None, "none"} and shape.balancer not in {"", wanted.balancer} and cluster.engine("balancer"):
        raise OperatorError(f"The balancer is {shape.balancer} and stays so; begin anew: `matinee cluster down --delete`.")
    shape.balance = wanted.balance or shape.balance
    shape.micro_cache = shape.micro_cache if wanted.micro_cache is None else wanted.micro_cache
    shape.settings.setdefault("MATINEE_HOME", str(config.home))
    if not shape.settings.get("MATINEE_LOG_FILE"):
        # The node's own log, which the server rotates; its output from before the log is set up is appended there too.
        shape.settings["MATINEE_LOG_FILE"] = str(cluster.home / "{name}.log")


def _follower_count(cluster: Cluster) -> int:
    return max(0, len(cluster.databases) - 1) if cluster.shape.high_availability else len(cluster.followers)


def _wants_balancer(cluster: Cluster, wanted: Wanted, servers: int) -> bool:
    if wanted.balancer == "none":
        return False
    return wanted.balancer is not None or cluster.engine("balancer") is not None or (servers > 1 and not cluster.servers)


def _add_engines(cluster: Cluster, wanted: Wanted, *, has_balancer: bool) -> None:
    """Make what is missing of the engines, without starting any. Raises: OperatorError when one is not installed."""
    if has_balancer and cluster.engine("balancer") is None:
        cluster.shape.balancer = wanted.balancer or "haproxy"
        cluster.add_engine("balancer", wanted.port)
    if cluster.shape.high_availability:
        for _ in range(_ETCD_NODES - sum(node.role == "etcd" for node in cluster.engines)):
            cluster.add_engine("etcd")
        if cluster.engine("front") is None:
            cluster.add_engine("front")
    if wanted.redis and cluster.engine("redis") is None:
        cluster.add_engine("redis")
    cluster.render()


def raise_members(cluster: Cluster, count: int, fill: Callable[[], object]) -> None:
    """Bring PostgreSQL up under Patroni: etcd, a first node that leads and is filled, and the others, which follow it."""
    _start_engines(cluster, "etcd", "redis")
    if not cluster.databases:
        tell("Making database-1, which leads ...")
        cluster.add_member()
    cluster.render()
    launch(cluster, [node for node in cluster.databases if node.state() == "dead"])
    leader = cluster.wait_for_leader().postgres
    if not leader.ask(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
        leader.ask(f"CREATE DATABASE {DATABASE}", within_s=_MAKE_WITHIN_S)
    fill()
    while len(cluster.databases) < count:
        tell(f"Making database-{len(cluster.databases) + 1} ...")
        cluster.add_member()
    cluster.render()
    launch(cluster, [node for node in cluster.databases if node.state() == "dead"])
    _start_engines(cluster, "front")


def launch(cluster: Cluster, nodes: Sequence[DatabaseNode]) -> None:
    """Start nodes of Patroni together and wait for each. Raises: OperatorError."""
    members = [node.postgres for node in nodes if isinstance(node.postgres, PatroniNode)]
    cluster.started += nodes
    for member in members:
        member.launch(cluster.save)
    for member in members:
        member.wait()
    cluster.look_who_leads()
    cluster.save()


def _start_engines(cluster: Cluster, *roles: str) -> None:
    """Start the engines of these roles that do not run, together, because some are ready only with the others."""
    dead = [node for node in cluster.engines if node.role in roles and node.state() == "dead"]
    for node in dead:
        tell(f"Starting {node.name} ...")
        cluster.started.append(node)
        node.launch(cluster.save)
    for node in dead:
        node.wait()


def tell_server(cluster: Cluster, server: ServerNode) -> None:
    """Give a server the environment that it is to be started with now."""
    cluster.render()
    server.environment = cluster.server_environment(server.name)


def _count(cluster: Cluster, what: str, wanted: int | None, there: int) -> int:
    if wanted is None:
        return max(there, cluster.wanted.get(what, _USUAL[what]))
    if wanted < there:
        tell(f"There are {there} {what}; none is taken away (`matinee cluster down --delete` begins anew).")
    return max(there, wanted)


def _require_port(cluster: Cluster, port: int | None, *, has_balancer: bool) -> None:
    """Refuse a port that the balancer, or without one the first server, cannot have, before anything is made for it."""
    there = cluster.engine("balancer") if has_balancer else next(iter(cluster.servers), None)
    if port is not None and there is None:
        require_free("balancer" if has_balancer else "server-1", port)
    if port is not None and there is not None and there.port != port:
        raise OperatorError(
            f"{there.name} has port {there.port} and keeps it. "
            "Leave --port out, or begin anew: `matinee cluster down --delete`."
        )


def _all_run(cluster: Cluster) -> bool:
    return all(node.state() == "running" for node in cluster.nodes)


def _wake(cluster: Cluster) -> None:
    """Let what is frozen go on, and start the databases that do not run."""
    for node in cluster.nodes:
        if node.state() == "stopped":
            tell(f"{node.name} was frozen; it goes on.")
            node.send(signal.SIGCONT)
    if not cluster.shape.high_availability:
        for database in cluster.databases:
            if database.state() == "dead":
                _start(cluster, database)


def _start(cluster: Cluster, node: Node) -> None:
    tell(f"Starting {node.name} ...")
    cluster.start(node)


def _fill(cluster: Cluster, config: Config) -> None:
    """Bring the leader's schema up to date, and make an admin of a new catalogue."""
    # What it prints is about passwords that are given in the next line.
    _matinee(cluster, config, "migrate")
    cluster.set_passwords()
    cluster.count_statements()
    if not cluster.servers:
        made = _matinee(cluster, config, "user", "create-admin", "--if-missing").strip()
        if made:
            tell(f"Admin made. Sign in once with name `admin` and password `{made}`; you then choose your own.")


@contextmanager
def _loading(cluster: Cluster, config: Config) -> Iterator[Callable[[], None]]:
    """Yield what begins to load the sample beside all else that is done in the block; its end waits until it is loaded."""
    executor = ThreadPoolExecutor(1)
    begun: list[Future[str]] = []

    def begin() -> None:
        tell("Loading the sample catalogue (half a minute) ...")
        cluster.sample_is_loading = True  # whoever breaks it off here finishes it with the next `up`
        cluster.save()
        begun.append(executor.submit(_matinee, cluster, config, "sample"))

    try:
        yield begin
        for loading in begun:
            loading.result()
            cluster.sample_is_loading = False
            cluster.save()
    finally:
        executor.shutdown(wait=False)  # where something else failed, the leader is ended next, which ends it too


def _serve(cluster: Cluster, count: int, port: int | None) -> None:
    """Start what is missing of the servers; those that know of other followers are started anew, one after another."""
    cluster.render()
    for server in cluster.servers:
        if server.state() != "dead" and server.environment != cluster.server_environment(server.name):
            tell(f"{server.name} is started anew, to know of every follower.")
            restart(cluster, server)
        elif server.state() == "dead":
            server.environment = cluster.server_environment(server.name)
            _start(cluster, server)
    while len(cluster.servers) < count:
        add_server(cluster, None if cluster.servers else port)


def add_server(cluster: Cluster, port: int | None = None) -> ServerNode:
    """Start one more server; a balancer that runs is not told of it here. Raises: OperatorError."""
    server = cluster.add_server([*_MATINEE, "serve"], port)
    tell_server(cluster, server)
    _start(cluster, server)
    return server


def _wait_until_all_is_seen(cluster: Cluster) -> None:
    """Wait until each server reads from every follower; a server that still does not is told of, and is no failure."""
    for server in cluster.servers:
        if not happens(lambda server=server: _sees_all(cluster, server), _SEES_ALL_WITHIN_S):  # type: ignore[misc]
            said = server.readiness() or {}
            tell(f"{server.name} does not read from every copy yet: {said.get('reason') or 'see `matinee cluster status`'}")


def _sees_all(cluster: Cluster, server: ServerNode) -> bool:
    said = server.readiness() or {}
    healthy = {line["name"] for line in said.get("dependencies", []) if line.get("status") == "healthy"}
    return said.get("status") == "ready" and {node.address for node in cluster.followers} <= healthy


def _matinee(cluster: Cluster, config: Config, *words: str) -> str:
    """Run another command as the catalogue's owner and return what it printed. Raises: OperatorError with its own words."""
    told = {"MATINEE_HOME": str(config.home), "DATABASE_URL": cluster.owner_url(), "DATABASE_FOLLOWER_URLS": ""}
    try:
        return run([*_MATINEE, *words], environment=environment(**told))
    except OperatorError as error:
        said = error.detail.partition("\n")[2]
        raise OperatorError(
            f"`matinee {' '.join(words)}` failed on the leader:\n{said}\nThe leader's log is {cluster.leader.log}"
        ) from error

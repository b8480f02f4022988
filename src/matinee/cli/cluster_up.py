"""Bring a cluster up: make what is missing, start what does not run, tell the servers of every follower.

Called by cluster.py.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

from matinee.cli.output import tell
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.ops.cluster import Cluster, Node
from matinee.ops.postgres import environment, require_installed
from matinee.ops.processes import happens, require_free, run
from matinee.ops.service import ServerNode

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
_USUAL = {"followers": 2, "servers": 1}
_SEES_ALL_WITHIN_S = 10.0  # a server takes a follower back after two good probes


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; None is what there is, and of a new cluster the usual number."""

    followers: int | None
    servers: int | None
    port: int | None
    sample: bool


def raise_up(cluster: Cluster, config: Config, wanted: Wanted) -> None:
    """Bring the cluster up. Raises: OperatorError; the caller ends what was started."""
    require_installed()
    for name in cluster.drop_unmade():
        tell(f"{name} was only half made; it is made again.")
    # Kept before anything is made: whoever breaks off here gets as many with the next plain `up`.
    cluster.wanted["followers"] = followers = _count(cluster, "followers", wanted.followers, len(cluster.followers))
    cluster.wanted["servers"] = servers = _count(cluster, "servers", wanted.servers, len(cluster.servers))
    _require_port(cluster, wanted.port)
    if cluster.databases and (len(cluster.followers), len(cluster.servers)) == (followers, servers) and _all_run(cluster):
        tell("The cluster is up already.")
        return
    _wake(cluster)
    _fill(cluster, config, sample=wanted.sample)
    while len(cluster.followers) < followers:
        tell(f"Making follower-{len(cluster.followers) + 1} ...")
        cluster.add_follower()
    _serve(cluster, config, servers, wanted.port)
    _wait_until_all_is_seen(cluster)


def tell_server(cluster: Cluster, config: Config, server: ServerNode) -> None:
    """Give a server the environment that it is to be started with now."""
    server.environment = _environment(cluster, config)


def _count(cluster: Cluster, what: str, wanted: int | None, there: int) -> int:
    if wanted is None:
        return max(there, cluster.wanted.get(what, _USUAL[what]))
    if wanted < there:
        tell(f"There are {there} {what}; none is taken away (`matinee cluster down --delete` begins anew).")
    return max(there, wanted)


def _require_port(cluster: Cluster, port: int | None) -> None:
    """Refuse a port that the first server cannot have, before anything is made for it."""
    if port is not None and not cluster.servers:
        require_free("server-1", port)
    if port is not None and cluster.servers and cluster.servers[0].port != port:
        raise OperatorError(
            f"server-1 has port {cluster.servers[0].port} and keeps it. "
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
    for database in cluster.databases:
        if database.state() == "dead":
            _start(cluster, database)


def _start(cluster: Cluster, node: Node) -> None:
    tell(f"Starting {node.name} ...")
    cluster.start(node)


def _fill(cluster: Cluster, config: Config, *, sample: bool) -> None:
    """Make the leader if there is none; bring its schema up to date, and load the sample into an empty catalogue."""
    if not cluster.databases:
        tell("Making the leader ...")
        cluster.add_leader()
    # What it prints is about passwords that are given in the next line.
    _matinee(cluster, config, "migrate")
    cluster.set_passwords()
    cluster.count_statements()
    if sample and (cluster.sample_is_loading or cluster.is_empty()):
        _load_sample(cluster, config)
    if not cluster.servers:
        made = _matinee(cluster, config, "user", "create-admin", "--if-missing").strip()
        if made:
            tell(f"Admin made. Sign in once with name `admin` and password `{made}`; you then choose your own.")


def _load_sample(cluster: Cluster, config: Config) -> None:
    tell("Loading the sample catalogue (half a minute) ...")
    cluster.sample_is_loading = True  # whoever breaks it off here finishes it with the next `up`
    cluster.save()
    _matinee(cluster, config, "sample")
    cluster.sample_is_loading = False
    cluster.save()


def _serve(cluster: Cluster, config: Config, count: int, port: int | None) -> None:
    """Start what is missing of the servers; those that know of other followers are started anew, one after another."""
    now = _environment(cluster, config)
    for server in cluster.servers:
        if server.state() != "dead" and server.environment != now:
            tell(f"{server.name} is started anew, to know of every follower.")
            server.end()
        server.environment = now if server.state() == "dead" else server.environment
        if server.state() == "dead":
            _start(cluster, server)
    while len(cluster.servers) < count:
        tell(f"Starting server-{len(cluster.servers) + 1} ...")
        cluster.add_server([*_MATINEE, "serve"], now, None if cluster.servers else port)


def _wait_until_all_is_seen(cluster: Cluster) -> None:
    """Wait until each server reads from every follower; a server that still does not is told of, and is no failure."""
    for server in cluster.servers:
        if not happens(lambda server=server: _sees_all(server), _SEES_ALL_WITHIN_S):  # type: ignore[misc]
            said = server.readiness() or {}
            tell(f"{server.name} does not read from every copy yet: {said.get('reason') or 'see `matinee cluster status`'}")


def _sees_all(server: ServerNode) -> bool:
    said = server.readiness() or {}
    copies = [line for line in said.get("dependencies", []) if line.get("role") in {"leader", "follower"}]
    return said.get("status") == "ready" and all(line.get("status") == "healthy" for line in copies)


def _environment(cluster: Cluster, config: Config) -> dict[str, str]:
    return {
        "MATINEE_HOME": str(config.home),
        "MATINEE_HOST": "127.0.0.1",
        "MATINEE_LOG_FILE": "",  # what it says goes to the node's own log
        "DATABASE_URL": cluster.writer_url(),
        "DATABASE_FOLLOWER_URLS": ",".join(cluster.reader_url(node) for node in cluster.followers),
    }


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

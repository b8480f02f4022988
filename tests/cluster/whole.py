"""The whole cluster, as `matinee cluster up --ha` makes it, and a row: one fault under load, its history, its figures.

Used by test_rows_*.py. The cluster is made once for all rows; each row leaves everything well. Where ROWS_FILE names a file,
each row appends its line of figures to it; scripts/test-cluster makes the table of docs/reliability.md from them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from matinee.ops import balancing, cluster_file
from matinee.ops.cluster import Cluster
from matinee.ops.database_node import DatabaseNode
from matinee.ops.engines import EngineNode
from matinee.ops.patroni import PatroniNode
from matinee.ops.postgres import server_user
from matinee.ops.service import ServerNode
from tests.cluster import keyed_load
from tests.cluster import load as loads
from tests.cluster.keyed_load import KeyedLoad, Write
from tests.cluster.load import Seen
from tests.cluster.small_disk import SmallDisk, small_disk
from tests.processes import eventually, matinee

MOVIES = 2_000
SERVERS = 3
# So few bytes that a server keeps some of the movies, and asks for the others: both ways are under load.
_SETTINGS = {"MATINEE_LOCAL_CACHE_BYTES": "500000"}
DISK_OF = "database-3"  # it has a small disk of its own, which can be filled
_DISK_SIZE = "1g"  # it keeps the log for a follower that is away
_WELL_WITHIN_S = 60.0
_CALM_READS = 300
_IN_QUEUE_S = 0.45  # the balancer's `timeout queue` of 0.5 s, whose clock ticks coarsely on a busy machine
# Times are for scripts/test-cluster to judge, where nothing else runs; elsewhere three times as much is no fault.
_JUDGES_TIMES = "ROWS_FILE" in os.environ


@dataclass(frozen=True)
class Bounds:
    """What must hold in a row beside what holds in each: no failed read, no lost write, no write without an answer."""

    slowest_read_s: float = 1.0
    p99_s: float = 0.5
    write_gap_s: float = 1.5
    staleness_s: float = 2.0
    hung_writes: int = 0
    interrupted_writes: int | None = None  # None: some are
    refuses_reads: bool = False  # there are more than can be answered
    away_s: float = 0.0  # the balancer, without which nobody is answered


@dataclass(frozen=True)
class Figures:
    """What a row's history came to, and its bounds."""

    row: str
    bounds: Bounds
    reads: int
    failed_reads: int
    refused_reads: int
    slowest_read_s: float
    p99_s: float
    writes: int
    refused_writes: int
    resolved_writes: int
    lost_writes: int
    write_gap_s: float
    remark: str = ""


class Whole:
    """The cluster that runs in a data folder, the key of whoever writes, and the disk that can be filled, if there is one."""

    def __init__(self, home: Path, key: str = "", disk: SmallDisk | None = None) -> None:
        self.home, self.key, self.disk = home, key, disk

    def cluster(self) -> Cluster:
        """Return the cluster as it is now."""
        found = cluster_file.load(self.home / "cluster")
        assert found is not None
        found.look_who_leads()
        return found

    def command(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `matinee cluster`."""
        done = matinee(self.home, "cluster", *words, **_SETTINGS)
        assert done.returncode == code, done.stderr
        return done

    def server(self, number: int = 1) -> ServerNode:
        """Return a server."""
        return self.cluster().servers[number - 1]

    def leader(self) -> DatabaseNode:
        """Return who leads."""
        return self.cluster().leader

    def follower(self) -> DatabaseNode:
        """Return one of those who follow."""
        return self.cluster().followers[0]

    def engine(self, name: str) -> EngineNode:
        """Return an engine."""
        return next(node for node in self.cluster().engines if node.name == name)

    def url(self) -> str:
        """Return where clients come in."""
        return self.engine("balancer").address

    def trouble(self) -> list[str]:
        """Return in words what is not well."""
        cluster = self.cluster()
        found = [f"{node.name} is {node.state()}" for node in cluster.nodes if node.state() != "running"]
        found += [f"{node.name} does not answer" for node in cluster.engines if not node.is_ready()]
        found += [f"{node.name} neither leads nor streams" for node in cluster.databases if not patroni(node).is_settled()]
        # Who has just come back streams before Patroni counts on it; until then it cannot lead.
        found += [f"{node.name} is not in the quorum" for node in cluster.followers if patroni(node).asked("/quorum") != 200]
        found += ["nobody leads"] if all(node.role == "follower" for node in cluster.databases) else []
        followers = {node.address for node in cluster.followers}
        for server in cluster.servers:
            said = server.readiness() or {}
            healthy = {line["name"] for line in said.get("dependencies", []) if line.get("status") == "healthy"}
            if said.get("status") != "ready" or not followers <= healthy:
                found.append(f"{server.name} is {said.get('status')} ({said.get('reason')}), reads from {healthy}")
            if not balancing.is_up(cluster, server):
                found.append(f"{server.name} is not up at the balancer")
        return found

    def is_well(self) -> None:
        """Wait until everything is well."""
        eventually(self.trouble, lambda found: found == [], _WELL_WITHIN_S)

    def heal(self) -> None:
        """Bring back whatever a row has left broken, and wait until everything is well."""
        if self.trouble():
            self.command("up", "--no-sample")
        self.is_well()

    def log(self) -> dict[str, list[Any]]:
        """Return what whoever leads at the end has: the positions in its log, and the titles of its movies."""
        with psycopg.connect(self.cluster().owner_url()) as session:
            positions = session.execute("SELECT position FROM change").fetchall()
            titles = session.execute("SELECT title FROM movie WHERE title LIKE 'Written as %'").fetchall()
        return {"positions": [row[0] for row in positions], "titles": [row[0] for row in titles]}

    @contextmanager
    def row(self, name: str, bounds: Bounds = Bounds()) -> Iterator[KeyedLoad]:
        """Run the load around a fault; everything is well before and after it. Then check its history."""
        self.heal()
        with KeyedLoad(self.url(), self.key, MOVIES) as load:
            eventually(lambda: len(load.acknowledged), lambda writes: writes >= 5, 20)
            yield load
            self.is_well()
            for_a_while(load, _CALM_READS)
        log = self.log()
        figures = figures_of(name, bounds, load, log)
        note(figures)
        assert_holds(load, figures, log)


def patroni(node: DatabaseNode) -> PatroniNode:
    """Return a database as the node of Patroni that it is."""
    assert isinstance(node.postgres, PatroniNode)
    return node.postgres


def for_a_while(load: KeyedLoad, reads: int = 600) -> None:
    """Let the load go on for so many reads more: 300 are a second."""
    enough = len(load.history) + reads
    eventually(lambda: len(load.history), lambda done: done >= enough, 120)


def written_again(load: KeyedLoad, within_s: float = 40.0) -> None:
    """Wait until writes that begin from now on are acknowledged."""
    now_s = time.monotonic()
    eventually(lambda: [item for item in load.acknowledged if item.began_s > now_s], bool, within_s)


def failed_reads(load: KeyedLoad, bounds: Bounds) -> list[Seen]:
    """Return the reads that were neither answered nor, where they may be, refused or without a balancer."""
    failed = loads.failed_reads(load)
    # Those that had been sent before the balancer went break off at the same moment as the first that finds nobody.
    away = sorted(item.began_s + item.took_s for item in failed if item.status == 0)
    back_s = away[0] + bounds.away_s if away and bounds.away_s else 0.0
    return [item for item in failed if not may_be_refused(item, bounds) and (item.status != 0 or item.began_s > back_s)]


def may_be_refused(item: Seen, bounds: Bounds) -> bool:
    """Return whether a refusal is no fault of the row: it says that the machine has too much to do.

    Where times are not judged that is so of a 503 after the longest wait in the balancer's queue, and of a 429: the load is
    one client, and may have more reads waiting than one client may. What finds no server at all is refused at once.
    """
    is_late = not _JUDGES_TIMES and (item.status == 429 or item.took_s >= _IN_QUEUE_S)
    return item.status in (429, 503) and (bounds.refuses_reads or is_late)


def lost_writes(load: KeyedLoad, log: dict[str, list[Any]]) -> list[Write]:
    """Return the acknowledged writes that the leader does not have exactly once."""
    positions = set(log["positions"])
    return [item for item in load.acknowledged if item.position not in positions or log["titles"].count(item.title) != 1]


def refused_but_there(load: KeyedLoad, log: dict[str, list[Any]]) -> list[Write]:
    """Return the writes that were refused and are there all the same."""
    titles = set(log["titles"])
    return [item for item in load.writes if item.outcome == "fail" and item.title in titles]


def figures_of(name: str, bounds: Bounds, load: KeyedLoad, log: dict[str, list[Any]]) -> Figures:
    """Return what a history came to."""
    reads = [item for item in load.history if item.kind != "write"]
    return Figures(
        row=name,
        bounds=bounds,
        reads=len(reads),
        failed_reads=len(failed_reads(load, bounds)),
        refused_reads=sum(item.status != 200 for item in reads) - len(failed_reads(load, bounds)),
        slowest_read_s=round(max(item.took_s for item in reads), 3),
        p99_s=round(loads.p99_s(load), 3),
        writes=len(load.acknowledged),
        refused_writes=sum(item.outcome == "fail" for item in load.writes),
        resolved_writes=sum(item.was_unknown for item in load.acknowledged),
        lost_writes=len(lost_writes(load, log)),
        write_gap_s=round(keyed_load.write_gap_s(load), 2),
        remark=load.remark,
    )


def note(figures: Figures) -> None:
    """Print a row's line, and append it to the file of those that are kept."""
    line = json.dumps(asdict(figures))
    print(line)
    if kept := os.environ.get("ROWS_FILE"):
        with Path(kept).open("a") as file:
            file.write(line + "\n")


def assert_holds(load: KeyedLoad, figures: Figures, log: dict[str, list[Any]]) -> None:
    """Check the history of a row."""
    bounds = figures.bounds
    assert failed_reads(load, bounds) == []
    assert loads.reads_behind_a_shown_position(load) == []
    assert loads.stale_reads(load, bounds.staleness_s) == []
    assert lost_writes(load, log) == []
    assert refused_but_there(load, log) == []
    assert keyed_load.odd_answers(load) == []
    assert load.without_retry_after == []
    assert keyed_load.unresolved_writes(load) == []
    assert keyed_load.hung_writes(load)[bounds.hung_writes :] == []
    if bounds.interrupted_writes is not None:
        assert keyed_load.interrupted_writes(load)[bounds.interrupted_writes :] == []
    patience = 1 if _JUDGES_TIMES else 3
    assert figures.write_gap_s <= patience * bounds.write_gap_s
    assert figures.slowest_read_s <= patience * bounds.slowest_read_s
    assert figures.p99_s <= patience * bounds.p99_s


@contextmanager
def made_whole() -> Iterator[Whole]:
    """Make the cluster with its catalogue, and end it."""
    # Not under the tests' own folder, which only this user may enter: PostgreSQL runs as another one when this is root.
    home = Path(tempfile.mkdtemp(prefix="matinee-whole-"))
    home.chmod(0o755)
    folder = home / "cluster"
    folder.mkdir()
    folder.chmod(0o711)
    with ExitStack() as left:
        left.callback(shutil.rmtree, home, ignore_errors=True)
        disk = left.enter_context(small_disk(folder / DISK_OF, server_user(), _DISK_SIZE))
        left.callback(matinee, home, "cluster", "down", "--delete")
        Whole(home).command("up", "--ha", "--servers", str(SERVERS), "--followers", "2", "--redis", "--no-sample")
        yield Whole(home, _filled(home), disk)


def _filled(home: Path) -> str:
    """Import the catalogue through the leader; return the key of whoever writes."""
    url = {"DATABASE_URL": Whole(home).cluster().owner_url()}
    films = b"".join(b'{"title": "Film %d", "year": %d, "genres": ["Drama"]}\n' % (n, 1920 + n % 80) for n in range(MOVIES))
    imported = matinee(home, "import", "ndjson", "-", stdin=films, **url)
    assert imported.returncode == 0, imported.stderr
    key = matinee(home, "key", "create", "--name", "load", "--scope", "write", **url)
    assert key.returncode == 0, key.stderr
    return key.stdout.strip()

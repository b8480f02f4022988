"""Attack a server of this machine and say what held: `scripts/attack`.

Without --url it starts a server of its own over a new catalogue with the sample. With --url it attacks a running one, which
needs --home and --pid; use a copy of a catalogue, because names in the fuzzed documents stay. Exit code 1 when something did
not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.attack import bodies, floods, raw, staff
from bench.attack.bystander import Seen, bystanders
from bench.attack.served import Served, own_server, require_loopback, running_server
from bench.attack.wire import Statuses, Wire, request
from bench.tables import table

MOST_P99_MS = 100.0
MOST_GROWTH_BYTES = 192 * 2**20  # of resident memory in one attack: the local cache fills up, and the allocator keeps a part
MOST_LOG_BYTES = 64 * 2**20  # by one attack
MOST_S = 300.0  # an attack ends then, whatever the server does
_BEGIN, _END = "<!-- attack: made by scripts/attack --write -->", "<!-- end of attack -->"
_HEADS = ("attack", "requests", "answers", "p99, ms", "failed", "memory, MiB", "log, MiB", "held")


@dataclass
class Row:
    """What came of one attack."""

    name: str
    answered: Statuses = field(default_factory=Counter)
    faults: list[bytes] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    grown_bytes: int = 0
    logged_bytes: int = 0

    def broken(self) -> list[str]:
        """Return what did not hold; empty when everything did."""
        checks = (
            (
                not self.faults,
                f"{len(self.faults)} faults, first: {self.faults[0].decode(errors='replace')[:300] if self.faults else ''}",
            ),
            (
                not self.seen.failed_reads,
                f"{len(self.seen.failed_reads)} reads failed: {Counter(self.seen.failed_reads).most_common(3)}",
            ),
            (not self.seen.failed_writes, f"writes failed: {Counter(self.seen.failed_writes)}"),
            (self.seen.p99_ms < MOST_P99_MS, f"p99 {self.seen.p99_ms:.0f} ms"),
            (self.grown_bytes < MOST_GROWTH_BYTES, f"memory grew by {self.grown_bytes / 2**20:.0f} MiB"),
            (self.logged_bytes < MOST_LOG_BYTES, f"the log grew by {self.logged_bytes / 2**20:.0f} MiB"),
        )
        return [what for holds, what in checks if not holds]

    def cells(self) -> list[str]:
        """Return the row of the table."""
        kinds: Counter[str] = Counter()
        for status, count in self.answered.items():
            kinds[
                "cut off"
                if status == -1
                else "no answer"
                if status == 0
                else f"{status // 100}xx"
                if status < 500
                else str(status)
            ] += count
        return [
            self.name,
            f"{sum(self.answered.values()):,}",
            ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())),
            f"{self.seen.p99_ms:.0f}",
            str(len(self.seen.failed_reads) + len(self.seen.failed_writes)),
            f"{self.grown_bytes / 2**20:+.0f}",
            f"{self.logged_bytes / 2**20:+.1f}",
            "no" if self.broken() else "yes",
        ]


Attack = Callable[[Served, Row, float], Awaitable[None]]


async def _raw(served: Served, row: Row, share: float) -> None:
    row.faults += await raw.attack(served.target, int(10_000 * share), 1, row.answered)


async def _bodies(served: Served, row: Row, share: float) -> None:
    row.faults += await bodies.attack(served.target, served.key, int(10_000 * share), 2, row.answered)


async def _staff(served: Served, row: Row, share: float) -> None:
    row.faults += await staff.attack(served.target, served.key, served.session, int(4_000 * share), 3, row.answered)


async def _sign_ins(served: Served, row: Row, share: float) -> None:  # noqa: ARG001  bounded in time
    row.faults += await floods.sign_ins(served.target, row.answered, served.session)


def _flood(flood: Callable[..., Awaitable[None]], *counts: int) -> Attack:
    async def run(served: Served, row: Row, share: float) -> None:
        await flood(served.target, row.answered, *(max(1, int(count * share)) for count in counts))

    return run


async def _idle_and_slow(served: Served, row: Row, share: float) -> None:
    held, slowed = int(2_000 * share), int(200 * share)
    await asyncio.gather(floods.idle(served.target, row.answered, held), floods.slow(served.target, row.answered, slowed))


ATTACKS: dict[str, Attack] = {
    "raw requests": _raw,
    "bodies": _bodies,
    "staff": _staff,
    "idle and slow clients": _idle_and_slow,
    "connection churn": _flood(floods.churn, 10_000),
    "HTTP/2 without a window": _flood(floods.http2, 60),
    "ids of 60,000 digits": _flood(floods.long_ids, 10_000),
    "keys for the cache": _flood(floods.many_keys, 20_000),
    "lines for the log": _flood(floods.log_lines, 20_000),
    "expensive reads": _flood(floods.expensive),
    "sign-ins": _sign_ins,
}


def main() -> int:
    """Run the attacks, print what came of them, and return the exit code."""
    options = _options()
    _raise_file_limit()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1 and not options.url:
        os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)))
    with _served(options) as served:
        before, rows, written = served.export(), [], {}
        for name in options.only or ATTACKS:
            rows.append(_run(name, served, options.share))
            written |= rows[-1].seen.written
            _tell(rows[-1])
        lost = asyncio.run(_lost(served, before, written))
    text = _text(rows, lost, len(written))
    print(text)
    if options.write:
        _write(Path("docs/security.md"), text)
    return 1 if lost or any(row.broken() for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/attack", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--url", default="", help="a running server, http://127.0.0.1:PORT; default: start one")
    parser.add_argument("--home", type=Path, help="MATINEE_HOME of the running server")
    parser.add_argument("--pid", type=int, help="process id of the running server's parent, for its memory")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, metavar="ATTACK", help=f"one or several of: {', '.join(ATTACKS)}")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the requests that are sent, such as 0.01 to try it out"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/security.md")
    options = parser.parse_args()
    if options.url and not (options.home and options.pid):
        parser.error("--url needs --home and --pid")
    if options.url:
        require_loopback(options.url)
    return options


@contextmanager
def _served(options: argparse.Namespace) -> Iterator[Served]:
    with running_server(options.url, options.home, options.pid) if options.url else own_server() as served:
        yield served


def _raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run(name: str, served: Served, share: float) -> Row:
    row, rss_bytes, log_bytes = Row(name), served.rss_bytes(), served.log_bytes()
    with bystanders(served.target, served.key) as row.seen:
        began_s = time.monotonic()
        asyncio.run(_bounded(ATTACKS[name](served, row, share), row))
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    row.grown_bytes = served.rss_bytes() - rss_bytes
    row.logged_bytes = served.log_bytes() - log_bytes
    return row


async def _bounded(attack: Awaitable[None], row: Row) -> None:
    try:
        await asyncio.wait_for(attack, MOST_S)
    except TimeoutError:
        row.faults.append(b"the attack was not over after %d s" % MOST_S)


def _tell(row: Row) -> None:
    for what in row.broken():
        print(f"  {row.name}: {what}", file=sys.stderr)


async def _lost(served: Served, before: dict[int, bytes], written: dict[str, str]) -> list[str]:
    """Return the acknowledged writes that are not there, and the movies that are not as they were before; delete the former."""
    after = served.export()
    lost = [f"movie {movie} is not as it was" for movie, line in before.items() if after.get(movie) != line]
    lost += [
        f"{title!r} was acknowledged" for movie, title in written.items() if title.encode() not in after.get(int(movie), b"")
    ]
    await bodies.delete(served.target, served.key, [int(movie) for movie in written])
    if (await Wire(served.target).exchange(request("GET", "/readyz", served.target))).status != 200:
        lost.append("the server is not ready")
    for what in lost[:10]:
        print(f"  lost: {what}", file=sys.stderr)
    return lost


def _text(rows: list[Row], lost: list[str], writes: int) -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores and {memory_gib:.0f} GiB, shared by the server and the attackers"
    kept = f"{writes:,} acknowledged writes, {len(lost)} lost or changed."
    return (
        f"Run on {dt.datetime.now(dt.UTC):%Y-%m-%d}, on {machine}. {kept}\n\n{table(_HEADS, [row.cells() for row in rows])}\n"
    )


def _write(page: Path, text: str) -> None:
    before, _, rest = page.read_text().partition(_BEGIN)
    page.write_text(f"{before}{_BEGIN}\n{text}{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    sys.exit(main())

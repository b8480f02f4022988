"""How long a page takes, however deep it is, and how long each kind of list and search takes; in process, without a server.

Run from the root of the repository: `python -m bench.paging --home FOLDER`; without a home it imports the sample. It asks the
catalogue as the HTTP handlers do. It must never write. A deep page is asked for with a cursor as a reader would have it after
walking there; first and deep pages take turns, so that a busy minute hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

from bench import catalogues, queries
from bench.tables import table
from bench.timing import Asker, Times, ms

_DEPTHS = (17_000, 500_000, 900_000)
_TARGET = 1.5  # times the first page
_SLOW_MS = 20.0
_ORDERS = tuple(sign + name for name in ("popularity", "rating", "votes", "year", "title", "added") for sign in ("-", "+"))


def main() -> int:
    """Measure, print, and return 1 when a deep page costs more than it may."""
    options = _options()
    with catalogues.sample_home(options.home, options.sample) as settings:
        # Longer than a server may take, so that what is too slow is measured and not only refused.
        asker = Asker(replace(settings, read_timeout_ms=60_000))
        count = len(catalogues.movie_ids(settings))
        depths = options.depths or [depth for depth in _DEPTHS if depth <= count - 20]
        deep = asyncio.run(_deep_pages(asker, depths, options.repeat))
        kinds = asyncio.run(_kinds(asker, count, options)) if not options.only_depth else []
        slow = [{"kind": row["kind"], **asker.explained(row["slowest"])} for row in kinds if row["p50_ms"] > _SLOW_MS]
    figures = {"movies": count, "deep_pages": deep, "kinds": kinds, "slow": slow}
    print(json.dumps(figures, default=str) if options.json else _as_text(figures))
    return 0 if all(row["ratio"] <= _TARGET for row in deep) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.paging", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="folder of a catalogue; empty or new: the sample is imported into it")
    parser.add_argument("--sample", type=Path, default=catalogues.SAMPLE, help="NDJSON file of the sample")
    parser.add_argument("--depths", type=int, nargs="*", help="movies before the deep page")
    parser.add_argument("--repeat", type=int, default=300, help="how often each page is asked for")
    parser.add_argument("--only-depth", action="store_true", help="leave the kinds of lists and searches out")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


async def _deep_pages(asker: Asker, depths: list[int], repeat: int) -> list[dict[str, Any]]:
    """Return a row for each order and depth, and for each order of a genre: medians of the first page and the deep one."""
    genre, movies = queries.genres(asker.reader(), max(depths))[0]
    places = [(urlencode({"sort": order}), depth) for order in _ORDERS for depth in depths]
    places += [(urlencode({"genre": genre, "sort": order}), movies * 9 // 10) for order in _ORDERS]
    rows = []
    for first, depth in places:
        deep = asker.after(first, depth)
        times = await asker.in_turns([first, deep], repeat)
        first_ms, deep_ms = times[first].median_ms, times[deep].median_ms
        rows.append({"list": unquote_plus(first), "depth": depth, "first_ms": first_ms, "deep_ms": deep_ms})
        rows[-1]["ratio"] = deep_ms / first_ms
        print(f"{first} {depth:,}: {deep_ms / first_ms:.2f}", file=sys.stderr)
    return rows


async def _kinds(asker: Asker, count: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each kind of list and search: the percentiles of its questions, and the slowest one."""
    rows = []
    for kind, asked in queries.kinds(asker.reader(), count).items():
        each = max(1, min(options.repeat, 200) // len(asked))
        times = await asker.in_turns(asked, each)
        everything = Times.joined(times.values())
        slowest = max(asked, key=lambda question: times[question].median_ms)
        rows.append(
            {
                "kind": kind,
                "p50_ms": everything.median_ms,
                "p99_ms": everything.p99_ms,
                "slowest": slowest,
                "slowest_ms": times[slowest].median_ms,
            }
        )
        print(f"{kind}: {everything.median_ms:.2f} ms", file=sys.stderr)
    return rows


def _as_text(figures: dict[str, Any]) -> str:
    deep = [
        (row["list"], f"{row['depth']:,}", ms(row["first_ms"]), ms(row["deep_ms"]), f"{row['ratio']:.2f}")
        for row in figures["deep_pages"]
    ]
    kinds = [
        (row["kind"], ms(row["p50_ms"]), ms(row["p99_ms"]), ms(row["slowest_ms"]), row["slowest"]) for row in figures["kinds"]
    ]
    worst = max(row["ratio"] for row in figures["deep_pages"])
    parts = [
        f"{figures['movies']:,} movies",
        table(("list", "after", "first page ms", "deep page ms", "ratio"), deep),
        f"At most {worst:.2f} times the first page, target {_TARGET}: {'met' if worst <= _TARGET else 'MISSED'}",
    ]
    if kinds:
        parts.append(table(("kind", "p50 ms", "p99 ms", "slowest ms", "slowest question"), kinds))
    parts += [f"{row['kind']}: {row['question']}\n{row['sql']}\n{row['plan']}" for row in figures["slow"]]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())

"""What a hit costs with each policy of the caches, and how much memory is resident for each byte of the bound; in process.

Run from the root of the repository: `python -m bench.policies`. Times are the best of many rounds over 20,000 entries. For
memory a process of its own fills a cache with values of mixed sizes, and goes on until each place was taken several times: what
the allocator wastes is in the figure. `OVERHEAD_BYTES` of a policy is what lies beside small values.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import timeit
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from bench.tables import table
from matinee.cache.policy import POLICIES, make_policy

_ENTRIES = 20_000
_ROUNDS = 40
_SIZES_BYTES = ((300, 500), (800, 3_000), (5_000, 20_000))  # a movie's JSON is about 1,700
_TOLERANCE = 0.15


def main() -> int:
    """Measure, print, and return 1 when the resident memory passes the bound by more than it may."""
    options = _options()
    if options.fill:
        print(json.dumps(_fill(options.fill, options.kind, *options.size, options.mib << 20)))
        return 0
    times = [{"policy": name, **_times(name)} for name in POLICIES]
    memory = [
        _fill_elsewhere(name, kind, size, options.mib)
        for name in POLICIES
        for kind in ("number", "text")
        for size in _SIZES_BYTES
    ]
    if options.json:
        print(json.dumps({"times": times, "memory": memory}))
    else:
        print(
            *(table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows]) for rows in (times, memory)),
            sep="\n\n",
        )
    return 0 if all(row["rss_to_bound"] < 1 + _TOLERANCE for row in memory) else 1


def _as_text(rows: list[dict[str, Any]]) -> str:
    return table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description=__doc__.split("\n\n")[0])
    parser.add_argument("--mib", type=int, default=64, help="bound of the caches that are filled")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--fill", choices=POLICIES, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _times(name: str) -> dict[str, str]:
    policy = make_policy(name, 1 << 30)
    keys = list(range(_ENTRIES))
    Random(1).shuffle(keys)
    for key in keys:
        policy.put(key, b"x" * 1_700, 1_700)
    full = make_policy(name, 2_300 * _ENTRIES)
    fresh = iter(range(10**9))

    def miss_and_put() -> None:
        for key in islice(fresh, _ENTRIES):
            if full.get(key) is None:
                full.put(key, b"", 1_700)

    return {
        "dict hit ns": _ns("for key in keys: get(key)", keys=keys, get=dict.fromkeys(keys, b"").get),
        "hit ns": _ns("for key in keys: get(key)", keys=keys, get=policy.get),
        "miss and put ns": _ns("run()", run=miss_and_put),
    }


def _ns(statement: str, **names: Any) -> str:
    return f"{min(timeit.repeat(statement, globals=names, number=1, repeat=_ROUNDS)) / _ENTRIES * 1e9:,.0f}"


def _fill_elsewhere(name: str, kind: str, size: tuple[int, int], mib: int) -> dict[str, Any]:
    words = ["--fill", name, "--kind", kind, "--size", *map(str, size), "--mib", str(mib)]
    done = subprocess.run([sys.executable, "-m", "bench.policies", *words], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _fill(name: str, kind: str, least: int, most: int, bound_bytes: int) -> dict[str, Any]:
    policy, random = make_policy(name, bound_bytes), Random(1)
    keys = 6 * bound_bytes // ((least + most) // 2)
    before_bytes = _rss_bytes()
    for _ in range(2 * keys):
        number = int(keys * random.random() ** 3)
        key = number if kind == "number" else f"/v1/movies/{number}"
        if policy.get(key) is None:
            size_bytes = random.randint(least, most)
            policy.put(key, bytes(size_bytes), size_bytes)
    gc.collect()
    rss_bytes = _rss_bytes() - before_bytes
    values_bytes = policy.used_bytes - len(policy) * policy.overhead_bytes
    return {
        "policy": name,
        "keys": kind,
        "value bytes": f"{least:,} to {most:,}",
        "entries": len(policy),
        "evictions": policy.evictions,
        "beside each value": round((rss_bytes - values_bytes) / len(policy)),
        "rss_to_bound": round(rss_bytes / bound_bytes, 3),
    }


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.exit(main())

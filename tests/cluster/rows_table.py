"""The figures of the rows as a table: `python -m tests.cluster.rows_table ROWS [PAGE]`. Run by scripts/test-cluster.

ROWS is the file that the rows were appended to, a line of JSON each. PAGE, where it is named, gets the table between its marks.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any

_BEGIN, _END = "<!-- rows: made by scripts/test-cluster --write -->", "<!-- end of rows -->"
_HEADS = (
    "fault", "reads", "failed", "turned away", "slowest, ms", "p99, ms",
    "writes", "refused", "by key", "lost", "longest gap, s",
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table, a line for each row; what is bounded has its bound behind it."""
    lines = [f"| {' | '.join(_HEADS)} |", "|---|" + "---:|" * (len(_HEADS) - 1)]
    for row in rows:
        bounds = row["bounds"]
        cells = (
            f"{row['row']}: {row['remark']}" if row["remark"] else row["row"],
            f"{row['reads']:,}",
            row["failed_reads"],
            f"{row['refused_reads']:,}",
            f"{row['slowest_read_s'] * 1000:.0f} of {bounds['slowest_read_s'] * 1000:.0f}",
            f"{row['p99_s'] * 1000:.0f} of {bounds['p99_s'] * 1000:.0f}",
            row["writes"],
            row["refused_writes"],
            row["resolved_writes"],
            row["lost_writes"],
            f"{row['write_gap_s']:.1f} of {bounds['write_gap_s']:g}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def machine() -> str:
    """Return in a sentence when and on what the rows were run."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Run on {dt.datetime.now(dt.UTC):%Y-%m-%d}, on {os.cpu_count()} cores and {memory_gib:.0f} GiB that the load shared."
    )


def main() -> None:
    """Print the table, and put it into the page."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    text = f"{machine()}\n\n{table(rows)}\n"
    print(text)
    if len(sys.argv) > 2:
        page = Path(sys.argv[2])
        before, _, rest = page.read_text().partition(_BEGIN)
        page.write_text(f"{before}{_BEGIN}\n{text}{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    main()

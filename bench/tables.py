"""Figures as a table of text that is also Markdown, so that it can be copied into docs/benchmarks.md. Called by the benches."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]

    def row(cells: Sequence[str]) -> str:
        first, *rest = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join([first, *rest])} |"

    rule = [("-" * width if column == 0 else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return "\n".join([row(heads), row(rule), *map(row, lines)])

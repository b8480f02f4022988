"""How the commands speak: tables and progress bars on a terminal, plain lines elsewhere, JSON where it was asked for."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Answer as JSON, for scripts.")]
_PLAIN_INTERVAL_S = 5.0


def speak_utf8() -> None:
    """Write UTF-8 whatever the locale says; a terminal gets its own encoding. Started under another locale, start again.

    A locale such as ISO 8859-1 also decides how arguments, names of files and opened files are decoded, and only the
    interpreter's start can change that.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  the same program with the same arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(ValueError):  # it is closed
                stream.reconfigure(encoding=stream.encoding if stream.isatty() else "utf-8", errors="backslashreplace")


def complain(text: str) -> None:
    """Say on the error stream what is wrong."""
    with suppress(OSError):
        typer.secho(f"matinee: {text}", fg=typer.colors.RED if sys.stderr.isatty() else None, err=True)


def tell(text: str) -> None:
    """Say on the error stream how things go; the output stream is for results. A stream that is full stops no command."""
    with suppress(OSError):
        typer.echo(text, err=True)


def as_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their columns: drawn on a terminal, parted by tabs elsewhere."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            typer.echo("\t".join(str(cell) for cell in row))
        return
    from rich.console import Console

    Console().print(drawn_table(columns, rows))


def drawn_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Return rows under their columns as a terminal shows them."""
    from rich.table import Table

    drawn = Table(*columns)
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    return drawn


# What a long command calls with how much is done of the total and how many movies, or requests, that is.
Advance = Callable[[int, int], None]


@contextmanager
def progress(what: str, total: int | None, unit: str = "movies") -> Iterator[Advance]:
    """Show how a long command goes on: a bar with rate and remaining time on a terminal, a line now and then elsewhere."""
    with _bar(what, total, unit) if sys.stderr.isatty() else _lines(what, total, unit) as advance:
        yield advance


@contextmanager
def _lines(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    began_s = last_s = time.monotonic()

    def advance(done: int, movies: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _PLAIN_INTERVAL_S:
            last_s = now_s
            share = f", {done * 100 // total} %" if total else ""
            tell(f"{what}: {movies:,} {unit}, {movies / (now_s - began_s):,.0f}/s{share}")

    yield advance


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn(f"{{task.fields[movies]:,}} {unit}, {{task.fields[rate]:,.0f}}/s"),
        TimeRemainingColumn(),
    ]
    began_s = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, movies=0, rate=0.0)

        def advance(done: int, movies: int) -> None:
            rate = movies / max(time.monotonic() - began_s, 0.001)
            bar.update(task, completed=done, movies=movies, rate=rate)

        yield advance
        if total:
            bar.update(task, completed=total)

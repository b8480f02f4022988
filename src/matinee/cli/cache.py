"""`cache`: what a cache would do with a given traffic, before one is chosen."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from matinee import config as configuration
from matinee.cache import simulation, traces
from matinee.cache.picture import draw
from matinee.cache.policy import POLICIES
from matinee.cache.traces import Trace
from matinee.cli.output import Json, as_json, progress, table, tell
from matinee.cli.output_files import Force, open_output, require_new, require_output
from matinee.errors import OperatorError

_SOURCE = "A file of lines `timestamp,id`, or an access log as JSON lines, plain or .gz; or zipf, drift, crawler: made up."


def simulate(
    trace: Annotated[str, typer.Argument(help=_SOURCE)],
    sizes: Annotated[str, typer.Option(help="Sizes of the cache, in percent of all ids.")] = "0.1,1,5,10",
    policy: Annotated[list[str] | None, typer.Option(help="lru, topn or s3fifo; may be said several times.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests of a trace that is made up.")] = 1_000_000,
    ids: Annotated[int, typer.Option(min=10, help="Ids of a trace that is made up.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same trace.")] = 1,
    warm_up: Annotated[int, typer.Option(min=0, max=99, help="Percent of the requests that only fill the caches.")] = 0,
    picture: Annotated[Path | None, typer.Option(help="SVG file to draw the hit ratios in.")] = None,
    force: Force = False,
    as_json_: Json = False,
) -> None:
    """Replay a trace against the policies, and against the best that can be had; exit code 1 when a line was unreadable."""
    percents, policies = _percents(sizes), _policies(policy)
    if picture:
        require_output(configuration.load(), picture, *({trace} - traces.MAKERS.keys()))
        require_new(picture, force=force)
    # The output is opened first, so that a path that cannot be written is reported before the work.
    with open_output(picture) if picture else nullcontext() as output:
        found = traces.MAKERS[trace](requests, ids, seed) if trace in traces.MAKERS else _read(trace)
        report = _simulate(trace, found, percents, policies, warm_up)
        if output:
            output.write(draw(_title(report), percents, report["hit_ratios"], simulation.OPT).encode())
    if as_json_:
        as_json(report)
    else:
        _show(report)
    if found.bad_lines:
        tell(f"Passed over: {_faults(found)}.")
    raise typer.Exit(1 if found.bad_lines else 0)


def _percents(text: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < percent <= 100 for percent in found):
        raise OperatorError(f"--sizes {text} is no list of percents above 0 and up to 100; give some such as 0.1,1,5,10.")
    return found


def _policies(names: Sequence[str] | None) -> Sequence[str]:
    for name in names or ():
        if name not in POLICIES:
            raise OperatorError(f"There is no policy '{name}'; choose from {', '.join(POLICIES)}.")
    return list(dict.fromkeys(names)) if names else POLICIES


def _read(path: str) -> Trace:
    opened: Any = gzip.open if path.endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
            found = traces.read(lines)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OperatorError(f"{path} is damaged or cut off ({error}); give a whole file.") from error
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be read: {error.strerror or error}. Give a file, or one of {', '.join(traces.MAKERS)}."
        ) from error
    if not found.ids:
        raise OperatorError(
            f"{path} holds no request for a movie{', but ' + _faults(found) if found.bad_lines else ''}. "
            "Give lines `timestamp,id`, or an access log that was written with LOG_FORMAT=json."
        )
    return found


def _faults(trace: Trace) -> str:
    lines = "1 line that is" if len(trace.bad_lines) == 1 else f"{len(trace.bad_lines):,} lines that are"
    return f"{lines} neither `timestamp,id` nor JSON, first line {trace.bad_lines[0]:,}"


def _simulate(name: str, trace: Trace, percents: Sequence[float], policies: Sequence[str], warm_up: int) -> dict[str, Any]:
    """Return what --json shows."""
    entries = [max(1, round(trace.population * percent / 100)) for percent in percents]
    with _watching(name, simulation.work(len(trace.ids), len(entries), len(policies))) as watch:
        cold = len(trace.ids) * warm_up // 100
        results = simulation.simulate(trace.ids, entries, policies, warm_up=cold, watch=watch)
    ratios = {
        policy: [round(it.hit_ratio, 4) for it in results if it.policy == policy] for policy in (*policies, simulation.OPT)
    }
    return {
        "trace": name,
        "requests": len(trace.ids),
        "ids": trace.population,
        "distinct_ids": len(set(trace.ids)),
        "bad_lines": len(trace.bad_lines),
        "first_bad_line": trace.bad_lines[0] if trace.bad_lines else None,
        "warm_up_percent": warm_up,
        "sizes_percent": percents,
        "sizes_entries": entries,
        "hit_ratios": ratios,
        "best": max(policies, key=lambda policy: mean(ratios[policy])),
    }


@contextmanager
def _watching(name: str, total: int) -> Iterator[Callable[[int], None]]:
    done = 0
    with progress(f"Replaying {name}", total, "requests") as advance:

        def watch(more: int) -> None:
            nonlocal done
            done += more
            advance(done, done)

        yield watch


def _show(report: dict[str, Any]) -> None:
    sizes = zip(report["sizes_percent"], report["sizes_entries"], strict=True)
    rows = [(name, *(f"{100 * ratio:.1f}" for ratio in ratios)) for name, ratios in report["hit_ratios"].items()]
    table(("hit ratio in %", *(f"{percent:g} % = {entries:,}" for percent, entries in sizes)), rows)
    tell(f"{_title(report)}. The best policy, in the mean of the sizes, is {report['best']}.")


def _title(report: dict[str, Any]) -> str:
    return f"{report['trace']}: {report['requests']:,} requests for {report['distinct_ids']:,} of {report['ids']:,} ids"

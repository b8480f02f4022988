"""`sql`: the statements that are really sent, with their plans, and what the database has counted of them."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any

import typer

from matinee import runtime
from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, as_json, table, tell
from matinee.cli.requests import request
from matinee.cli.running_server import OpsUrl, ask, ask_json, ops_address_of
from matinee.config import Config
from matinee.errors import OperatorError


def explain(
    path: Annotated[str, typer.Argument(help="The path and query, as '/v1/movies?genre=Drama&sort=-year'.")],
    as_json_: Json = False,
) -> None:
    """Print the statements of one GET with their plans, on the copy that would serve it; exit code 1 when it is an error."""
    config = open_catalogue(is_reading=True)
    status, found = asyncio.run(_explain(config, path))
    if as_json_:
        as_json({"path": path, "status": status, "statements": found})
    else:
        for item in found:
            typer.echo(f"-- {item['name']} on {item['copy']}: {item['rows']} rows, with {item['values']}")
            typer.echo(item["sql"] + ";")
            typer.echo("\n".join(f"    {line}" for line in item["plan"]) + "\n")
        tell(f"{path}: {status}, {len(found)} statements.")
    raise typer.Exit(1 if status >= 400 else 0)


async def _explain(config: Config, path: str) -> tuple[int, list[dict[str, Any]]]:
    from matinee.http.app import build
    from matinee.storage.recording import RecordingSource

    source = RecordingSource(runtime.source_of(config))
    try:
        status, _, _ = await request(build(dataclasses.replace(config, access_log=False), source), path)
        found = []
        for statement, rows in list(source.sent):
            copy, plan = await source.plan(statement)
            shown = {"name": statement.name, "copy": copy, "rows": rows, "values": statement.values}
            found.append(shown | {"sql": statement.text, "plan": plan})
        return status, found
    finally:
        await source.close()


def report(as_json_: Json = False) -> None:
    """Show what takes the time: statements, unused and missing indexes, bloat, replication slots."""
    config = open_catalogue(is_reading=True)
    timings = _timings(config)
    counted: dict[str, Any] = {"copies": [], "unused_indexes": []}
    if config.on_postgres:
        from matinee.storage import statistics

        counted = statistics.report([config.database_url, *config.follower_urls])
    if as_json_:
        as_json({"timings": timings, **counted})
        return
    typer.echo("Named statements, as the running server has timed them:")
    _rows(timings, "no server answers, or it has answered nothing yet")
    for copy in counted["copies"]:
        typer.echo(f"\n{copy['name']}:")
        if "error" in copy:
            typer.echo(f"  {copy['error']}")
        for part in ("statements", "sequential_reads", "bloat", "slots"):
            if part in copy:
                typer.echo(f"\n{part.replace('_', ' ')}")
                _rows(copy[part], "none")
    if config.on_postgres:
        typer.echo("\nIndexes that no copy has read")
        _rows(counted["unused_indexes"], "none")


def _rows(rows: Any, if_none: str) -> None:
    if isinstance(rows, str) or not rows:
        typer.echo(f"  {rows or if_none}")
        return
    shown = [{name: " ".join(str(value).split())[:100] for name, value in row.items()} for row in rows]
    table(list(shown[0]), [list(row.values()) for row in shown])


def _timings(config: Config) -> list[dict[str, Any]]:
    """Return calls, mean and p99 of each named statement from the running server's /metrics; none when there is no server."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        reply = ask(ops_address_of(None, config), "/metrics")
    except OperatorError:
        return []
    if reply.status != 200:
        return []
    families = list(text_string_to_metric_families(reply.body.decode()))
    samples = [sample for family in families if family.name == "matinee_statement_seconds" for sample in family.samples]
    names = sorted({sample.labels["name"] for sample in samples})
    rows = [_timing(name, [sample for sample in samples if sample.labels["name"] == name]) for name in names]
    total_s = sum(row["total_s"] for row in rows) or 1.0
    for row in rows:
        row["share_percent"] = round(100 * row.pop("total_s") / total_s, 1)
    return sorted(rows, key=lambda row: -row["share_percent"])


def _timing(name: str, samples: list[Any]) -> dict[str, Any]:
    calls = sum(sample.value for sample in samples if sample.name.endswith("_count"))
    total_s = sum(sample.value for sample in samples if sample.name.endswith("_sum"))
    buckets = sorted((float(sample.labels["le"]), sample.value) for sample in samples if sample.name.endswith("_bucket"))
    p99_s = next((bound for bound, below in buckets if below >= 0.99 * calls), 0.0)
    mean_ms = round(1000 * total_s / calls, 3) if calls else 0.0
    return {"name": name, "calls": int(calls), "mean_ms": mean_ms, "p99_at_most_ms": 1000 * p99_s, "total_s": total_s}


def status(url: OpsUrl = None, as_json_: Json = False) -> None:
    """Ask the running server how it is and what it thinks of each copy; exit code 1 when something is missed, 2 without one."""
    address = ops_address_of(url)
    _, state = ask_json(address, "/readyz")
    if "dependencies" not in state:
        raise OperatorError(f"{address} answers only {state.get('status')!r}; give the server's MATINEE_OPS_ADDRESS: --url URL")
    if as_json_:
        as_json(state)
    else:
        typer.echo(f"{address}: {state['status']}" + (f". {state['reason']}" if state["reason"] else ""))
        columns = (
            "name",
            "role",
            "status",
            "reason",
            "position",
            "lag_bytes",
            "staleness_s",
            "in_flight",
            "reads",
            "retries",
            "hedges",
        )
        table(columns, [["" if line.get(name) is None else line[name] for name in columns] for line in state["dependencies"]])
    raise typer.Exit(0 if state["status"] == "ready" else 1)

"""`cache stats`, `top`, `purge`, `warm`: the caches of the servers that run, seen, emptied and filled from outside."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from matinee import runtime
from matinee.cli.cache_figures import BESIDE, SHARED, Key, Look, look_at
from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, as_json, drawn_table, table, tell
from matinee.cli.running_server import OpsUrl, Url, address_of, ask, ask_json, ops_address_of, refusal
from matinee.config import Config
from matinee.errors import OperatorError

_ACTOR = "cli:purge"
_PATIENCE_MS = 5_000
_WATCH_S = 1.0
_WINDOWS = ("day", "week")


def purge(
    movie: Annotated[str | None, typer.Option(help="The movie, by its number or as imdb:tt0078748.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is kept.")] = False,
    as_json_: Json = False,
) -> None:
    """Have every process of every server drop what it keeps, of one movie or --all; print the position of the purge.

    It goes through the log of changes: it holds for every answer that shows this position or a later one.
    """
    if (movie is None) != everything:
        raise typer.BadParameter("Give one of --movie ID and --all.")
    open_catalogue()
    from matinee.domain.ids import parse_ref
    from matinee.write import purges

    purged = purges.purge(None if movie is None else parse_ref(movie, "--movie"), _ACTOR)
    if as_json_:
        as_json({"position": purged.position, "movie": purged.movie_id or None})
    else:
        tell("Purged: " + (f"what is kept of movie {purged.movie_id}." if purged.movie_id else "everything that is kept."))
        typer.echo(purged.position)


def warm(
    limit: Annotated[int | None, typer.Option(min=1, max=100_000, help="How many movies; else MATINEE_WARM_MOVIES.")] = None,
    as_json_: Json = False,
) -> None:
    """Load the movies that are asked for most into the shared cache, for all servers; print how many it holds then.

    What each process keeps for itself, a server loads when it starts.
    """
    config = open_catalogue()
    if not config.redis_url and not config.memcached_url:
        raise OperatorError(
            "There is no shared cache to warm: set REDIS_URL or MEMCACHED_URL. "
            "What it keeps for itself, a server warms when it starts."
        )
    # Nobody waits for this process: a shared cache that is slow for a moment is not to be left alone.
    patient = dataclasses.replace(config, shared_cache_deadline_ms=max(config.shared_cache_deadline_ms, _PATIENCE_MS))
    held = asyncio.run(_warm(patient, limit or config.warm_movies))
    if as_json_:
        as_json({"movies": held})
    else:
        tell("Warmed: the shared cache holds so many of the movies that are asked for most.")
        typer.echo(held)


async def _warm(config: Config, limit: int) -> int:
    from matinee.cache.shared import shared_tier
    from matinee.read.warming import warm_shared

    tier = shared_tier(config.redis_url, config.memcached_url, config.shared_cache_deadline_ms / 1000)
    reason = await tier.ping()
    await tier.close()
    if reason is not None:
        raise OperatorError(reason)
    parts = runtime.build(config)
    try:
        return await warm_shared(parts.catalogue, parts.popularity, limit)
    finally:
        await parts.close()


def top(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many movies.")] = 20,
    window: Annotated[str, typer.Option(help="day or week.")] = "day",
    url: Url = None,
    as_json_: Json = False,
) -> None:
    """Show the movies that are asked for most, as the running server counts them; exit code 2 without a server."""
    if window not in _WINDOWS:
        raise typer.BadParameter(f"Give one of {' and '.join(_WINDOWS)}.", param_hint="--window")
    address = address_of(url)
    reply, found = ask_json(address, f"/v1/trending?window={window}&limit={limit}")
    if reply.status == 404:
        raise OperatorError(f"The server at {address} is older than this command: it has no /v1/trending; update it.")
    if reply.status != 200:
        raise refusal(address, reply, found)
    if as_json_:
        as_json(found["items"])
        return
    cells = [
        [place, *(_cell(card.get(name)) for name in ("id", "title", "year"))] for place, card in enumerate(found["items"], 1)
    ]
    table(("place", "id", "title", "year"), cells)


def _cell(value: Any) -> Any:
    return "" if value is None else value


def stats(
    url: OpsUrl = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, with rates, until Ctrl-C.")] = False,
    as_json_: Json = False,
) -> None:
    """Show what the caches of the running server have counted; exit code 2 without a server."""
    address = ops_address_of(url)
    first = _look(address)
    if watch:
        _watch(address, first, _show_json_line if as_json_ else _shower())
    elif as_json_:
        as_json(_as_object(address, first))
    else:
        table(*_rows(first, None, 0.0))
        if not any(key not in (SHARED, BESIDE) for key in first.figures):
            tell("There is no local tier: MATINEE_LOCAL_CACHE_BYTES is 0.")


Show = Callable[[str, Look, Look | None, float], None]


def _look(address: str) -> Look:
    reply = ask(address, "/metrics")
    if reply.status != 200:
        raise OperatorError(
            f"{address}/metrics answers {reply.status}; give the address of the server's MATINEE_OPS_ADDRESS: --url URL"
        )
    return look_at(reply.body.decode())


def _watch(address: str, look: Look, show: Show) -> None:
    """Look every second until Ctrl-C, which is exit code 130; a server that is away is waited for."""
    seen_s, before, before_s = time.monotonic(), None, 0.0
    try:
        while True:
            show(address, look, before, seen_s - before_s)
            before, before_s = look, seen_s
            while True:
                time.sleep(_WATCH_S)
                try:
                    look, seen_s = _look(address), time.monotonic()
                    break
                except OperatorError as error:
                    tell(error.detail)
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


def _shower() -> Show:
    """Return what shows one look after the other: in the same place on a terminal, below each other elsewhere."""
    if not sys.stdout.isatty():
        return lambda _, look, before, passed_s: table(*_rows(look, before, passed_s))
    from rich.console import Console

    console = Console()

    def show(address: str, look: Look, before: Look | None, passed_s: float) -> None:
        drawn = drawn_table(*_rows(look, before, passed_s))
        drawn.caption = f"{address}, {time.strftime('%H:%M:%S')}; Ctrl-C ends it"
        console.clear()
        console.print(drawn)

    return show


def _show_json_line(address: str, look: Look, before: Look | None, passed_s: float) -> None:
    typer.echo(json.dumps(_as_object(address, look, before, passed_s)))


def _rows(look: Look, before: Look | None, passed_s: float) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a table; rates stand in it from the second look on."""
    rows = [
        [key.tier, key.policy, name, _shown(name, value), *_rate_cells(key, name, look, before, passed_s)]
        for key, name, value in look.lines()
    ]
    return ["tier", "policy", "figure", "value", *(["per second"] if before else [])], rows


def _rate_cells(key: Key, name: str, look: Look, before: Look | None, passed_s: float) -> list[str]:
    if before is None:
        return []
    rate = look.rate(key, name, before, passed_s)
    if rate is None:
        return [""]
    return [f"{rate:.1%}" if name == "hit_ratio" else f"{rate:,.1f}"]


def _shown(name: str, value: float) -> str:
    if name == "hit_ratio":
        return f"{value:.1%}"
    return f"{int(value):,}" if value == int(value) else f"{value:,.3f}"


def _as_object(address: str, look: Look, before: Look | None = None, passed_s: float = 0.0) -> dict[str, Any]:
    """Return a look for scripts; rates stand in it from the second look on."""

    def of(key: Key) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        rates: dict[str, float] = {}
        for name, value in look.figures[key].items():
            figures[name] = int(value) if value == int(value) and name != "hit_ratio" else value
            rate = None if before is None else look.rate(key, name, before, passed_s)
            if rate is not None:
                rates[name] = round(rate, 3)
        return figures | ({"per_second": rates} if before else {})

    tiers = [key for key in sorted(look.figures) if key not in (SHARED, BESIDE)]
    return {
        "url": address,
        "tiers": [{"tier": key.tier, "policy": key.policy} | of(key) for key in tiers],
        "shared": of(SHARED) if SHARED in look.figures else None,
        "beside": of(BESIDE) if BESIDE in look.figures else {},
    }

"""`changes follow`: the log of changes as it grows, for people, for scripts, and for whoever purges a CDN.

It is followed through a server, or read from the catalogue of the settings when none is named. Whoever is interrupted goes on
from the position that was told: a change may be seen twice then, but never be missed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from matinee import config as configuration
from matinee import runtime
from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, tell
from matinee.cli.running_server import address_of, ask_json, refusal
from matinee.config import Config
from matinee.errors import NoReaderAvailable, OperatorError

_PAGE_ROWS = 100
_MOST_AT_ONCE = 10_000  # an import's changes are gathered, so that they are held back once and not a hundred times
_LOOK_S = 0.5
_LOOK_AGAIN_S = 2.0  # while nobody answers

Change = dict[str, Any]


class _Log(Protocol):
    """Where the log is read."""

    def newest(self) -> int:
        """Return the newest position."""

    def after(self, since: int) -> dict[str, Any]:
        """Return the next changes: `items`, the `position` to ask for next, and whether it `has_more`."""

    def pause(self, seconds: float) -> None:
        """Wait."""

    def close(self) -> None:
        """Give back what was opened."""


class _ServersLog:
    """The log as a server tells it."""

    def __init__(self, address: str, key: str) -> None:
        self._address, self._key = address, key

    def newest(self) -> int:
        headers, _ = self._get(0, 1)
        return int(headers.get("matinee-position", 0))

    def after(self, since: int) -> dict[str, Any]:
        return self._get(since, _PAGE_ROWS)[1]

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        pass

    def _get(self, since: int, limit: int) -> tuple[dict[str, str], dict[str, Any]]:
        reply, found = ask_json(self._address, f"/v1/changes?since={since}&limit={limit}", self._key)
        if reply.status in (401, 403):
            raise OperatorError(f"{refusal(self._address, reply, found).detail} Name a file that holds it: --key-file PATH")
        if reply.status != 200:
            raise refusal(self._address, reply, found)
        return reply.headers, found


class _CataloguesLog:
    """The log as a reader of the settings' catalogue finds it, in this process."""

    def __init__(self, config: Config) -> None:
        self._catalogue, self._runner = runtime.build(config).catalogue, asyncio.Runner()

    def newest(self) -> int:
        return self._runner.run(self._catalogue.position())

    def after(self, since: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._runner.run(self._catalogue.changes(since, _PAGE_ROWS)))
        return found

    def pause(self, seconds: float) -> None:
        self._runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        self._runner.run(self._catalogue.close())
        self._runner.close()


def follow(
    since: Annotated[int | None, typer.Option(min=0, help="The position after which to begin; else the newest one.")] = None,
    url: Annotated[str | None, typer.Option(help="A server's address; else the catalogue of the settings is read.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with an API key, for a server whose reads need one.")] = None,
    purge_list: Annotated[bool, typer.Option("--purge-list", help="Print the tags that each change drops at a CDN.")] = False,
    delay: Annotated[
        float | None,
        typer.Option(
            min=0, max=3600, help="Seconds to hold changes back; with --purge-list as long as followers may be behind."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all changes have been printed.")] = False,
    as_json_: Json = False,
) -> None:
    """Print each change of the catalogue as a line, from a position on, until Ctrl-C; tell the position to go on from.

    --purge-list prints the tags that answers carry in Surrogate-Key or Cache-Tag, parted by blanks, each once in what comes at
    a time: for a script that purges a CDN by them.
    """
    config = configuration.load() if url else open_catalogue(is_reading=True)
    log: _Log = _ServersLog(address_of(url), _key_in(key_file)) if url else _CataloguesLog(config)
    if delay is None:
        delay = config.max_follower_lag_s + config.change_tail_interval_ms / 1000 if purge_list else 0.0
    follower = _Follower(log, purge_list, as_json_)
    try:
        follower.run(since, delay, once)
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
    finally:
        log.close()
        if follower.position is not None:
            tell(f"Go on with --since {follower.position}")


def _key_in(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path} cannot be read ({error}); name the file that holds the key.") from error


class _Follower:
    """Prints a log; `position` is up to where it has, None before it has begun."""

    def __init__(self, log: _Log, purge_list: bool, as_json_: bool) -> None:
        self._log, self._lines = log, (_tag_lines if purge_list else _change_lines)
        self._as_json = as_json_
        self.position: int | None = None

    def run(self, since: int | None, delay_s: float, once: bool) -> None:
        """Print what comes. Raises: OperatorError, NoReaderAvailable when nobody answers at first; later that is waited for."""
        newest = self._log.newest()
        self.position = newest if since is None else since
        while True:
            changes, position = self._gather(self.position, is_patient=not once)
            if changes:
                self._log.pause(delay_s)
                for line in self._lines(changes, self._as_json):
                    typer.echo(line)
            is_all = len(changes) < _MOST_AT_ONCE
            self.position = position
            if is_all and once:
                return
            if is_all:
                self._log.pause(_LOOK_S)

    def _gather(self, since: int, *, is_patient: bool) -> tuple[list[Change], int]:
        """Return the changes after a position, as many as there are, within bounds, and up to where they go."""
        changes: list[Change] = []
        is_told = False
        while len(changes) < _MOST_AT_ONCE:
            try:
                found = self._log.after(since)
            except (OperatorError, NoReaderAvailable) as error:
                if not is_patient:
                    raise
                if not is_told:
                    tell(error.for_operators)
                is_told = True
                self._log.pause(_LOOK_AGAIN_S)
                continue
            changes += found["items"]
            since = found["position"]
            if not found["has_more"]:
                break
        return changes, since


def _change_lines(changes: list[Change], as_json_: bool) -> Iterator[str]:
    for change in changes:
        yield json.dumps(change, ensure_ascii=False) if as_json_ else _line(change)


def _line(change: Change) -> str:
    subject = f"{change['subject']} {change['subject_id'] or 'all'}"
    more = f" into {change['into']}" if change["into"] is not None else ""
    fields = f": {', '.join(change['fields'])}" if change["fields"] else ""
    return f"{change['position']} {change['at']} {subject} {change['kind']}{more}{fields}"


def _tag_lines(changes: list[Change], as_json_: bool) -> Iterator[str]:
    """Yield what each change makes a CDN drop that no change before it does."""
    from matinee.http.cdn import dropped_by

    told: set[str] = set()
    for change in changes:
        tags = [tag for tag in dropped_by(change["subject"], change["subject_id"]) if tag not in told]
        told.update(tags)
        if tags:
            yield json.dumps({"position": change["position"], "tags": tags}) if as_json_ else " ".join(tags)

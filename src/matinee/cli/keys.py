"""`key`: the keys of programs that use the API."""

from __future__ import annotations

from typing import Annotated

import typer

from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, as_json, table, tell
from matinee.errors import OperatorError

_ACTOR = "cli"
_QUOTA_HELP = "Requests a minute; `unlimited` is no limit, `default` is MATINEE_KEY_RATE."


def create(
    name: Annotated[str, typer.Option(help="Who will use it.")],
    scope: Annotated[str, typer.Option(help="read or write.")] = "read",
    quota: Annotated[str, typer.Option(help=_QUOTA_HELP)] = "default",
    as_json_: Json = False,
) -> None:
    """Make a key and print it; it is shown only now."""
    open_catalogue()
    from matinee.write import keys

    key = keys.create(name, scope, _ACTOR, _quota(quota))
    if as_json_:
        as_json({"name": name, "scope": scope, "quota": _quota(quota), "prefix": key.prefix, "key": key.text})
    else:
        tell(f"Key {key.prefix} made for {name}, scope {scope}. It is shown once; send it as `Authorization: Bearer KEY`.")
        typer.echo(key.text)


def show(as_json_: Json = False) -> None:
    """List the keys, newest first."""
    open_catalogue(is_reading=True)
    from matinee.write import keys

    columns = ("prefix", "name", "scope", "quota", "created_at", "last_used_at", "revoked_at")
    rows = [[getattr(key, column) for column in columns] for key in keys.all_keys()]
    if as_json_:
        as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        shown = [[*row[:3], _shown(row[3]), *row[4:]] for row in rows]
        table(columns, [["" if cell is None else cell for cell in row] for row in shown])


def quota(
    prefix: Annotated[str, typer.Argument(help="The key's prefix, as `matinee key list` shows it.")],
    requests: Annotated[str, typer.Argument(metavar="QUOTA", help=_QUOTA_HELP)],
) -> None:
    """Set how many requests a minute a key may send; running servers follow within five seconds."""
    wanted = _quota(requests)
    open_catalogue()
    from matinee.write import keys

    is_changed = keys.set_quota(prefix, wanted, _ACTOR)
    tell(f"Key {prefix} has quota {_shown(wanted)}{' now' if is_changed else ' already'}.")


def _quota(text: str) -> int | None:
    words = {"default": None, "unlimited": 0}
    if text in words:
        return words[text]
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise OperatorError(f"{text[:60]!r} is no quota; give a number of requests a minute, `default` or `unlimited`.")
    return int(text)


def _shown(quota: int | None) -> str:
    return "default" if quota is None else f"{quota} a minute" if quota else "unlimited"


def revoke(prefix: Annotated[str, typer.Argument(help="The key's prefix, as `matinee key list` shows it.")]) -> None:
    """Revoke a key at once."""
    open_catalogue()
    from matinee.write import keys

    keys.revoke(prefix, _ACTOR)
    tell(f"Key {prefix} is revoked.")

"""`key`: the keys of programs that use the API."""

from __future__ import annotations

from typing import Annotated

import typer

from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, as_json, table, tell

_ACTOR = "cli"


def create(
    name: Annotated[str, typer.Option(help="Who will use it.")],
    scope: Annotated[str, typer.Option(help="read or write.")] = "read",
    as_json_: Json = False,
) -> None:
    """Make a key and print it; it is shown only now."""
    open_catalogue()
    from matinee.write import keys

    key = keys.create(name, scope, _ACTOR)
    if as_json_:
        as_json({"name": name, "scope": scope, "prefix": key.prefix, "key": key.text})
    else:
        tell(f"Key {key.prefix} made for {name}, scope {scope}. It is shown once; send it as `Authorization: Bearer KEY`.")
        typer.echo(key.text)


def show(as_json_: Json = False) -> None:
    """List the keys, newest first."""
    open_catalogue()
    from matinee.write import keys

    columns = ("prefix", "name", "scope", "created_at", "last_used_at", "revoked_at")
    rows = [[getattr(key, column) for column in columns] for key in keys.all_keys()]
    if as_json_:
        as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        table(columns, [["" if cell is None else cell for cell in row] for row in rows])


def revoke(prefix: Annotated[str, typer.Argument(help="The key's prefix, as `matinee key list` shows it.")]) -> None:
    """Revoke a key at once."""
    open_catalogue()
    from matinee.write import keys

    keys.revoke(prefix, _ACTOR)
    tell(f"Key {prefix} is revoked.")

"""`user`: the people who may sign in to the admin."""

from __future__ import annotations

from typing import Annotated

import typer

from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, as_json, tell


def create_admin(
    name: Annotated[str, typer.Option(help="The name to sign in with.")] = "admin",
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Do nothing when somebody can sign in already.")] = False,
    as_json_: Json = False,
) -> None:
    """Make an admin and print a one-time password, which is shown only now."""
    open_catalogue()
    from matinee.write import users

    if if_missing and users.admins_exist():
        return
    password = users.create_admin(name)
    if as_json_:
        as_json({"name": name, "password": password})
    else:
        tell(f"Admin {name} made. The password below is shown once and must be changed at the first sign-in.")
        typer.echo(password)

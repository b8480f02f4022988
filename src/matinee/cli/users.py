"""`user`: the people who may sign in to the admin."""

from __future__ import annotations

from typing import Annotated

import typer

from matinee.cli.home import open_catalogue
from matinee.cli.output import Json, as_json, table, tell
from matinee.errors import OperatorError


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


def unlock(
    name: Annotated[str, typer.Argument(help="The name of the account, from whatever address it was tried.")] = "",
    address: Annotated[str, typer.Option(help="A blocked address instead; of IPv6 its /64 network counts.")] = "",
) -> None:
    """Forget the failed sign-ins of an account or of an address; the next attempt is allowed at once."""
    if bool(name) == bool(address):
        raise OperatorError("Give a name or --address, one of the two; `matinee user blocked` lists both.")
    open_catalogue()
    from matinee.http.client import client_group, plain_address
    from matinee.write import sign_ins

    address = client_group(plain_address(address) or address)  # as the sign-in page counts it
    count = sign_ins.unlock(account=name, address=address)
    tell(f"{name or address}: failed sign-ins forgotten." if count else f"{name or address} has no failed sign-ins.")


def blocked(as_json_: Json = False) -> None:
    """List the accounts and addresses whose sign-ins are refused now, the longest block first."""
    open_catalogue(is_reading=True)
    from matinee.write import sign_ins

    columns = ("kind", "account", "address", "failures", "blocked_until")
    rows = [[getattr(row, column) for column in columns] for row in sign_ins.blocked()]
    if as_json_:
        as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        table(columns, [[_on_one_line(cell) for cell in row] for row in rows])


def _on_one_line(cell: object) -> str:
    """Return a cell without signs that could move the cursor: a stranger chose the account's name."""
    return "".join(sign if sign.isprintable() else "�" for sign in str(cell))

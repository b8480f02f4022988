"""What every session of PostgreSQL relies on, stated once: encoding, time zone, formats, schema, isolation.

Defaults of a server, database, role or environment must not change an answer: PGCLIENTENCODING=LATIN1 made searches fail, and
a role's search_path hides the tables. Each session states these settings when it starts, which outranks all of those. PgBouncer
in transaction mode takes few of them, so there each write sets them for its transaction, and migrate sets them for the roles.
Called by settings.py (writer, admin), postgres.py and watch.py (readers), roles.py, and the commands.
It must not override default_transaction_read_only of the writer: operators and providers stop writes with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from psycopg.conninfo import conninfo_to_dict

RELIED_ON = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",  # floats are read back exactly
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "search_path": "public",
    "row_security": "off",  # a policy that would hide rows is an error instead of an answer that lacks them
    "gin_fuzzy_search_limit": "0",  # a search finds everything
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "idle_session_timeout": "0",  # pools keep idle sessions, and close them themselves
}
# PostgreSQL's own defaults do as well, where a session cannot state its settings: behind PgBouncer.
USUAL = {"search_path": '"$user", public', "row_security": "on"}
# The current transaction has begun, so its defaults cannot change any more.
_OF_A_TRANSACTION = {name: value for name, value in RELIED_ON.items() if not name.startswith(("default_", "idle_session"))}
# libpq sends these variables at the start of a session, where they outrank `options`; PgBouncer passes them on.
_SENT_FROM_ENVIRONMENT = {"PGTZ": "UTC", "PGDATESTYLE": "ISO, MDY"}


def parameters(url: str, settings: Mapping[str, object], *, pgbouncer: bool = False) -> dict[str, Any]:
    """Return the connection parameters that state what a session relies on, and more settings of its kind.

    `options` of the URL are sent too, before ours. Behind PgBouncer only the encoding, time zone and date style are stated.
    """
    _pin_environment()
    stated = str(conninfo_to_dict(url).get("options") or "")
    # An empty value is stated too: a missing one would be taken from PGOPTIONS.
    options = stated if pgbouncer else " ".join([stated, *map(_option, {**RELIED_ON, **settings}.items())]).strip()
    return {"client_encoding": "UTF8", "options": options}


def command_session(url: str, purpose: str) -> dict[str, Any]:
    """Return the parameters of a short session of a command, such as `doctor`: `psycopg.connect(url, **parameters)`."""
    ours = {"autocommit": True, "connect_timeout": 2, "application_name": f"matinee-{purpose}"}
    # Whether this server is behind PgBouncer is not known here: nothing that PgBouncer refuses may be stated.
    return ours | parameters(url, {}, pgbouncer=True)


def of_a_transaction(limits: Mapping[str, str]) -> tuple[str, list[list[str]]]:
    """Return a statement and its values that state the same until the end of the current transaction, with more settings."""
    settings = {**_OF_A_TRANSACTION, **limits}
    text = "SELECT set_config(name, value, TRUE) FROM unnest(%s::text[], %s::text[]) AS stated (name, value)"
    return text, [list(settings), list(settings.values())]


def _option(setting: tuple[str, object]) -> str:
    name, value = setting
    escaped = str(value).replace("\\", "\\\\").replace(" ", "\\ ")
    return f"-c {name}={escaped}"


def _pin_environment() -> None:
    """Make the variables that libpq sends by itself harmless; there is no connection parameter that overrides them."""
    os.environ.update(_SENT_FROM_ENVIRONMENT)
    os.environ.pop("PGGEQO", None)

"""Every command of the command line: its words, and the function that does it.

Called by main.py. With the words of one command only that command is imported: all of them together take half a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from matinee import __version__

_GROUPS = {
    "import": "Bring movies in from a file.",
    "export": "Write the catalogue out.",
    "user": "The people who may sign in to the admin.",
    "key": "The keys of programs that use the API.",
    "config": "The settings and where each one comes from.",
    "sql": "The statements that are sent, their plans, and what the database counts.",
    "cache": "What the caches do, and what they would do with your traffic.",
    "changes": "The log of changes, followed as it grows.",
    "cluster": "A leader, followers and servers on this machine, and faults to try.",
}
# The words of a command: the module of this package, and the function in it.
_COMMANDS = {
    "up": "server:up",
    "serve": "server:serve",
    "migrate": "catalogue:migrate",
    "import ndjson": "catalogue:import_ndjson",
    "import fynd": "catalogue:import_fynd",
    "export ndjson": "catalogue:export_ndjson",
    "sample": "catalogue:sample",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "user create-admin": "users:create_admin",
    "user unlock": "users:unlock",
    "user blocked": "users:blocked",
    "key create": "keys:create",
    "key list": "keys:show",
    "key quota": "keys:quota",
    "key revoke": "keys:revoke",
    "get": "requests:get",
    "openapi": "requests:openapi",
    "config show": "settings:show",
    "config check": "settings:check",
    "doctor": "health:doctor",
    "status": "sql:status",
    "sql report": "sql:report",
    "sql explain": "sql:explain",
    "cache stats": "cache_server:stats",
    "cache top": "cache_server:top",
    "cache purge": "cache_server:purge",
    "cache warm": "cache_server:warm",
    "cache simulate": "cache:simulate",
    "changes follow": "changes:follow",
    "cluster up": "cluster:up",
    "cluster status": "cluster:status",
    "cluster kill": "cluster:kill",
    "cluster stop": "cluster:stop",
    "cluster cont": "cluster:cont",
    "cluster start": "cluster:start",
    "cluster restart": "cluster_change:restart",
    "cluster drain": "cluster_change:drain",
    "cluster undrain": "cluster_change:undrain",
    "cluster add": "cluster_change:add",
    "cluster remove": "cluster_change:remove",
    "cluster rolling-restart": "cluster_change:rolling_restart",
    "cluster switchover": "cluster_change:switchover",
    "cluster rebuild": "cluster:rebuild",
    "cluster url": "cluster:url",
    "cluster logs": "cluster:logs",
    "cluster down": "cluster:down",
    "cluster topology": "cluster_render:topology",
    "cluster render": "cluster_render:render",
    "cluster certificates": "cluster_certificates:certificates",
}


def application(words: Sequence[str] = ()) -> typer.Typer:
    """Return the command line; if `words` begin with a command, it has only that one."""
    app = _group("A movie catalogue that you run: API, search and admin. Begin with `matinee up`.")
    app.callback()(_options)
    groups: dict[str, typer.Typer] = {}
    for command in _chosen(words):
        group, _, name = command.rpartition(" ")
        if group and group not in groups:
            groups[group] = _group(_GROUPS[group])
            app.add_typer(groups[group], name=group)
        module, _, function = _COMMANDS[command].partition(":")
        (groups[group] if group else app).command(name)(getattr(import_module(f"matinee.cli.{module}"), function))
    return app


def _chosen(words: Sequence[str]) -> list[str]:
    """Return the commands that the words can mean; all of them when they mean none, so that help and hints know them."""
    for length in (2, 1):
        beginning = " ".join(words[:length])
        if chosen := [command for command in _COMMANDS if f"{command} ".startswith(f"{beginning} ")]:
            return chosen
    return list(_COMMANDS)


def _group(text: str) -> typer.Typer:
    return typer.Typer(
        name="matinee",
        help=text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _version(show: bool) -> None:
    if show:
        typer.echo(f"matinee {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A movie catalogue that you run: API, search and admin. Begin with `matinee up`."""

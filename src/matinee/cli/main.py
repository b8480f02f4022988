"""The entry point: the commands under their names, and every error as two lines that say what is wrong and what to do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from matinee import __version__
from matinee.cli import (
    backup,
    cache,
    cache_server,
    catalogue,
    changes,
    cluster,
    cluster_change,
    cluster_render,
    health,
    keys,
    requests,
    server,
    settings,
    sql,
    users,
)
from matinee.cli.output import complain
from matinee.errors import MatineeError

app = typer.Typer(
    name="matinee",
    help="A movie catalogue that you run: API, search and admin. Begin with `matinee up`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
imports = typer.Typer(help="Bring movies in from a file.", no_args_is_help=True)
exports = typer.Typer(help="Write the catalogue out.", no_args_is_help=True)
user_app = typer.Typer(help="The people who may sign in to the admin.", no_args_is_help=True)
key_app = typer.Typer(help="The keys of programs that use the API.", no_args_is_help=True)
cluster_app = typer.Typer(help="A leader, followers and servers on this machine, and faults to try.", no_args_is_help=True)
sql_app = typer.Typer(help="The statements that are sent, their plans, and what the database counts.", no_args_is_help=True)
cache_app = typer.Typer(help="What the caches do, and what they would do with your traffic.", no_args_is_help=True)
changes_app = typer.Typer(help="The log of changes, followed as it grows.", no_args_is_help=True)
config_app = typer.Typer(help="The settings and where each one comes from.", no_args_is_help=True)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"matinee {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A movie catalogue that you run: API, search and admin. Begin with `matinee up`."""


app.command()(server.up)
app.command()(server.serve)
app.command()(catalogue.migrate)
app.add_typer(imports, name="import")
imports.command("ndjson")(catalogue.import_ndjson)
imports.command("fynd")(catalogue.import_fynd)
app.add_typer(exports, name="export")
exports.command("ndjson")(catalogue.export_ndjson)
app.command()(catalogue.sample)
app.command()(backup.backup)
app.command()(backup.restore)
app.add_typer(user_app, name="user")
user_app.command("create-admin")(users.create_admin)
user_app.command("unlock")(users.unlock)
user_app.command("blocked")(users.blocked)
app.add_typer(key_app, name="key")
key_app.command("create")(keys.create)
key_app.command("list")(keys.show)
key_app.command("revoke")(keys.revoke)
app.command()(requests.get)
app.command()(requests.openapi)
app.add_typer(config_app, name="config")
config_app.command("show")(settings.show)
config_app.command("check")(settings.check)
app.command()(health.doctor)
app.command()(sql.status)
app.add_typer(sql_app, name="sql")
sql_app.command()(sql.report)
sql_app.command()(sql.explain)
app.add_typer(cache_app, name="cache")
cache_app.command()(cache_server.stats)
cache_app.command()(cache_server.top)
cache_app.command()(cache_server.purge)
cache_app.command()(cache_server.warm)
cache_app.command()(cache.simulate)
app.add_typer(changes_app, name="changes")
changes_app.command("follow")(changes.follow)
app.add_typer(cluster_app, name="cluster")
for command in (
    cluster.up,
    cluster.status,
    cluster.kill,
    cluster.stop,
    cluster.cont,
    cluster.start,
    cluster_change.restart,
    cluster_change.drain,
    cluster_change.undrain,
    cluster_change.add,
    cluster_change.remove,
    cluster_change.rolling_restart,
    cluster_change.switchover,
    cluster.rebuild,
    cluster.url,
    cluster.logs,
    cluster.down,
    cluster_render.topology,
    cluster_render.render,
):
    cluster_app.command()(command)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except MatineeError as error:
        complain(error.detail)
        sys.exit(2)
    except KeyboardInterrupt:
        complain("Interrupted; whole batches are kept, and the same command again goes on from there.")
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has read enough; closing the stream again at exit would complain.
        sys.stdout = None
        sys.exit(0)

"""The entry point: the commands under their names, and every error as one sentence that says what is wrong and what to do.

Exit codes: 0 done; 1 done, and something is wrong with what was looked at or read; 2 the command could not run as things are;
130 interrupted. A reader of the output that goes away, such as `head`, is no failure.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import structlog
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
    failures,
    health,
    keys,
    requests,
    server,
    settings,
    sql,
    streams,
    users,
)
from matinee.cli.output import complain, speak_utf8, tell
from matinee.config import without_password
from matinee.errors import MatineeError
from matinee.private_files import keep_private

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
key_app.command("quota")(keys.quota)
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


def run(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong is one sentence on the error stream, never a traceback."""
    try:
        code = app(args=words, standalone_mode=False)
        streams.flush()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:  # noqa: BLE001  the last place where an error can become a sentence
        return _report(error)
    return code if isinstance(code, int) else 0


def _report(error: BaseException) -> int:
    """Say what went wrong and return the exit code."""
    if isinstance(error, typer.Abort) and error.__cause__ is not None:
        error = error.__cause__  # the library's word for an input that ended, or for an interruption
    code = 2
    if isinstance(error, typer.TyperException):
        code = _refuse(error)
    elif isinstance(error, KeyboardInterrupt | typer.Abort):
        complain("Interrupted; whole batches are kept, and the same command again goes on from there.")
        code = 130
    elif isinstance(error, streams.OutputFailed):
        streams.give_up_output()
        code = 0 if error.is_closed_pipe else code  # the reader of our output, such as `head`, has read enough
        if code:
            complain(error.detail)
    elif isinstance(error, MatineeError):
        complain(error.detail)
    else:
        _fail(error)
    return code


def _refuse(error: typer.TyperException) -> int:
    """Say what is wrong with the words of the command line."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "matinee"
    if type(error).__name__ == "NoArgsIsHelpError":
        tell(error.format_message())
    else:
        complain(f"{error.format_message().rstrip('.')}. Type `{command} --help` for what it takes.")
    return error.exit_code


def _fail(error: BaseException) -> None:
    """Say in a sentence what no command expected, and where its traceback is."""
    told = failures.sentence(error)
    if (path := failures.keep_details(error)) is not None:
        told += f" Details are in {path}."
    else:
        told += f" It came from {failures.where(error)}; LOG_LEVEL=debug shows the details."
    if os.environ.get("LOG_LEVEL", "").lower() == "debug":
        tell(without_password("".join(traceback.format_exception(error))))
    complain(told)


def main() -> None:
    """Run the command line as a process."""
    streams.prepare()
    speak_utf8()
    # Standard output is for results: what a command logs must not end in an export. A server sets its own log up.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    keep_private()
    code = run()
    try:
        streams.flush()
    except streams.OutputFailed:
        streams.give_up_output()
    sys.exit(code)

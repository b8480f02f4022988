"""The entry point: one command is run, and every error is shown as one sentence that says what is wrong and what to do.

Exit codes: 0 done; 1 done, and something is wrong with what was looked at or read; 2 the command could not run as things are;
130 interrupted. A reader of the output that goes away, such as `head`, is no failure.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import structlog
import typer

from matinee.cli import failures, streams
from matinee.cli.commands import application
from matinee.cli.output import complain, speak_utf8, tell
from matinee.config import without_password
from matinee.errors import MatineeError
from matinee.private_files import keep_private


def run(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong is one sentence on the error stream, never a traceback."""
    try:
        words = sys.argv[1:] if words is None else words
        code = application(words)(args=words, standalone_mode=False)
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
            complain(error.for_operators)
    elif isinstance(error, MatineeError):
        complain(error.for_operators)
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

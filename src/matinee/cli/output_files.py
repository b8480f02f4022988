"""Refuse an output file that would destroy something: the catalogue's own files, or the input of the same command.

Called by each command that writes to a path the user named, before it writes. It must never create or change a file.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from matinee import config as configuration
from matinee.config import Config
from matinee.errors import OperatorError

_OWN_FOLDERS = ("cluster", "logs", "run")


def require_output(config: Config, output: Path, *inputs: str | Path) -> None:
    """Refuse a path that leads to a file of the catalogue or to an input of this command. Raises: OperatorError."""
    if any(_is_same(output, Path(name)) for name in inputs if str(name) != "-"):
        raise OperatorError(f"{output} is what this command reads; name another file for its output.")
    own = [*configuration.own_files(config), *([Path(config.log_file)] if config.log_file else [])]
    folders = [config.home / name for name in _OWN_FOLDERS]
    is_inside = any(output.resolve().is_relative_to(folder.resolve()) for folder in folders)
    if is_inside or any(_is_same(output, file) for file in own):
        raise OperatorError(f"{output} belongs to the catalogue itself and would be destroyed; name another file.")


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):  # one of them does not exist, or cannot be looked at
        if one.samefile(other):
            return True
    return one.resolve() == other.resolve()

"""Write to the paths that a user names, and destroy nothing there: the catalogue's own files, the input, or another file.

Called by each command that writes to such a path. The checks come before any work and must never create or change a file.
Invariants: a regular file that holds something is replaced only with --force, and only by a whole one; what is no regular file,
such as a FIFO, a device or /dev/stdout, is written in place and keeps its mode.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from matinee import config as configuration
from matinee import private_files
from matinee.config import Config
from matinee.errors import OperatorError

Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
_OWN_FOLDERS = ("cluster", "logs", "run")


def require_output(config: Config, output: Path, *inputs: str | Path) -> None:
    """Refuse a path that leads to a file of the catalogue or to an input of this command. Raises: OperatorError."""
    if any(_is_input(output, str(name)) for name in inputs):
        raise OperatorError(f"{output} is what this command reads; name another file for its output.")
    own = [*configuration.own_files(config), *([Path(config.log_file)] if config.log_file else [])]
    folders = [config.home / name for name in _OWN_FOLDERS]
    is_inside = any(output.resolve().is_relative_to(folder.resolve()) for folder in folders)
    if is_inside or any(_is_same(output, file) for file in own):
        raise OperatorError(f"{output} belongs to the catalogue itself and would be destroyed; name another file.")


def require_new(output: Path, *, force: bool) -> None:
    """Refuse a regular file that holds something, unless it may be replaced. Raises: OperatorError."""
    found = _regular(output)
    if found is not None and found.st_size and not force:
        raise OperatorError(f"{output} exists; name another file, or replace this one with --force.")


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Open a file of results. A regular file appears under its name only when it is whole. Raises: OperatorError."""
    try:
        if _is_in_place(path):
            with _open_in_place(path) as output:
                yield output
        else:
            with _replacing(Path(os.path.realpath(path))) as output:
                yield output
    except OSError as error:
        raise OperatorError(f"{path} cannot be written ({error.strerror or error}); choose another file.") from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a draft beside the path and rename it; a replaced file's mode is kept, a new one follows the user's umask."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as output:
            yield output
        if (before := _regular(path)) is not None:
            draft.chmod(stat.S_IMODE(before.st_mode))
        else:
            private_files.share_as_user_would(draft)
        draft.replace(path)
    finally:
        with suppress(OSError):  # where the folder is none, even looking for the draft is an error
            draft.unlink()


def open_named(path: Path) -> tuple[Path, BinaryIO]:
    """Open the file for rejected records that the user named; a new one is for its owner alone. Raises: OSError."""
    return path, _open_in_place(path) if _is_in_place(path) else private_files.open_file(path)


def open_numbered(path: Path) -> tuple[Path, BinaryIO]:
    """Make a file of this name or, where one exists, of NAME-2, NAME-3 and so on; return its path too. Raises: OSError."""
    private_files.make_folder(path.parent)  # first: a file in its place must end the command, not count as a taken name
    for free in chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2))):
        with suppress(FileExistsError):
            return free, private_files.open_file(free, "xb")
    raise AssertionError("there is always a free number")


def _is_in_place(path: Path) -> bool:
    return _descriptor(path) is not None or ((found := _status(path)) is not None and not stat.S_ISREG(found.st_mode))


def _open_in_place(path: Path) -> BinaryIO:
    number = _descriptor(path)
    # Opened by its path, a file that standard output goes to would be emptied, and written from its beginning.
    return path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")


def _descriptor(path: Path) -> int | None:
    """Return which open descriptor a path stands for, as /dev/stdout and /dev/fd/3 do; None for other paths."""
    names = [path]
    with suppress(OSError):  # it is no link
        names.append(path.parent / path.readlink())
    folders = {Path("/dev/fd"), Path("/proc/self/fd").resolve()}
    return next((int(name.name) for name in names if name.name.isdigit() and name.parent.resolve() in folders), None)


def _regular(path: Path) -> os.stat_result | None:
    """Return the status of a regular file, None where there is none."""
    return None if _is_in_place(path) else _status(path)


def _status(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None


def _is_input(output: Path, name: str) -> bool:
    if name == "-":
        found = _regular(output)
        with suppress(OSError):
            return found is not None and os.path.samestat(found, os.fstat(0))
        return False
    return not _is_in_place(output) and _is_same(output, Path(name))


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):  # one of them does not exist, or cannot be looked at
        if one.samefile(other):
            return True
    return one.resolve() == other.resolve()

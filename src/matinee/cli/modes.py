"""Who may read what lies in the data folder: tightened when a command starts, and looked at by `doctor`.

Called by home.py and health.py. MATINEE_HOME may be a folder that other programs use, such as /var with its own `backups`:
there only files with Matinee's names are looked at, and no folder of that name is. The same holds behind a link.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from matinee import config as configuration
from matinee import private_files
from matinee.config import Config
from matinee.errors import OperatorError

_FOLDERS = ("logs", "backups", "rejected")
_OURS = re.compile(r"catalogue.*|secret_key|logs|backups|rejected|cluster|run|sample.*|\..*\.part.*|\.secret_key.*")
_BACKUPS = ("catalogue-????????T??????Z.sqlite3", "base-????????T??????Z")  # as backup.py names them
_LOGS = ("matinee.log*", "errors.log*")
_PASS_THROUGH = 0o011  # PostgreSQL's user goes through the data folder to a cluster's data


def tighten(config: Config) -> list[Path]:
    """Close what is ours to others; return the files that were open to them."""
    if _is_ours(config.home):
        private_files.close_to_others(config.home, _PASS_THROUGH if (config.home / "cluster").exists() else 0)
    found = [path for path in _private(config) if private_files.is_open_to_others(path)]
    return [path for path in found if private_files.close_to_others(path) and not path.is_dir()]


def check(config: Config) -> str:
    """Return that only the owner may read the files. Raises: OperatorError, with the path, its mode and the remedy."""
    paths = list(_private(config))
    found = [path for path in paths if private_files.is_open_to_others(path)]
    if config.log_file and _others_may_read(Path(config.log_file)):
        found.append(Path(config.log_file))
    if _is_ours(config.home) and _others_may_read(config.home):
        found.insert(0, config.home)
    if found:
        mode = stat.S_IMODE(found[0].stat().st_mode)
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        names = " ".join(str(path) for path in found[:5])
        raise OperatorError(f"{found[0]} has mode {mode:04o}, so others may read it{more}. Run: chmod go-rwx {names}")
    return f"{len(paths)} files and folders, for their owner alone"


def _private(config: Config) -> Iterator[Path]:
    """Yield what is there of the files that hold something of the catalogue."""
    if not config.on_postgres:
        catalogue = config.database_path
        yield from (path for ending in ("", "-wal", "-shm") if (path := catalogue.with_name(catalogue.name + ending)).exists())
        yield from catalogue.parent.glob(f"{glob.escape(catalogue.stem)}-before-*")
    if (secret := configuration.secret_path(config)).exists():
        yield secret
    is_ours = _is_ours(config.home)
    for name in _FOLDERS:
        folder = config.home / name
        yield from _all_in(folder) if is_ours and not folder.is_symlink() else _named_in(folder)


def _all_in(top: Path) -> Iterator[Path]:
    for folder, _, files in os.walk(top):
        yield Path(folder)
        yield from (Path(folder) / file for file in files)


def _named_in(folder: Path) -> Iterator[Path]:
    """Yield what has the name of a backup or log of ours; the folder may belong to another program."""
    patterns = {"backups": _BACKUPS, "logs": _LOGS}.get(folder.name, ())
    yield from (path for pattern in patterns for path in sorted(folder.glob(pattern)))


def _is_ours(home: Path) -> bool:
    try:
        return all(_OURS.fullmatch(path.name) for path in home.iterdir())
    except OSError:
        return False


def _others_may_read(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return bool(found.st_mode & 0o004) and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))

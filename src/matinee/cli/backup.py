"""`backup` and `restore`: a copy of the whole catalogue, and the way back from one. docs/backup.md says when and where to.

SQLite's copy is a file (storage/backups.py), PostgreSQL's a folder with a base backup of the instance (ops/base_backup.py).
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import typer

from matinee import config as configuration
from matinee import private_files, setting_values
from matinee.cli.cluster_settings import load_settings
from matinee.cli.output import Json, as_json, progress, tell
from matinee.cli.output_files import require_output
from matinee.config import Config
from matinee.errors import OperatorError

_ABOUT = "matinee.json"  # what is in a base backup, as it was told when it was taken
_FILE, _FOLDER = "catalogue-{}.sqlite3", "base-{}"
_STAMP = r"\d{8}T\d{6}Z"
_MIB = 2**20
# How a compressed file begins, and the program that unpacks it beside itself.
_PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zX": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}


def backup(
    target: Annotated[
        Path | None,
        typer.Argument(help="A new file (of PostgreSQL a new folder), or a folder for one; else MATINEE_HOME/backups."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let it take the place of a backup that is there.")] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so many in MATINEE_HOME/backups, and remove older ones when this one is done."),
    ] = None,
    from_follower: Annotated[
        bool, typer.Option("--from-follower", help="Copy the first of DATABASE_FOLLOWER_URLS instead of the leader.")
    ] = False,
    as_json_: Json = False,
) -> None:
    """Copy the catalogue while it is used, check the copy, and say which position it holds."""
    config, began_s = load_settings(as_owner=True), time.monotonic()
    if keep and target:
        raise OperatorError("--keep is about MATINEE_HOME/backups; leave out the target, or remove old backups there yourself.")
    if from_follower and not config.follower_urls:
        raise OperatorError("--from-follower needs DATABASE_FOLLOWER_URLS; set it, or leave the option out.")
    path = _target(config, target)
    require_output(config, path)
    with _undone(path):
        private_files.make_folder(path.parent)
        _require_free(path, force=force)
        report = _back_up_instance(config, path, from_follower) if config.on_postgres else _back_up_file(config, path)
    removed = [str(old) for old in _remove_old(config, keep, path)] if keep else []
    report |= {"bytes": _bytes(path), "seconds": round(time.monotonic() - began_s, 1), "removed": removed}
    if as_json_:
        as_json(report)
        return
    tell(
        f"{report['what']} is in {path}: {report['bytes']:,} bytes, position {report['position']:,}"
        f"{' or later' if config.on_postgres else ''}, checked, {report['seconds']} s."
    )
    for old in removed:
        tell(f"Removed {old}")


def restore(
    source: Annotated[Path, typer.Argument(help="A file or folder that `matinee backup` made.")],
    into: Annotated[Path | None, typer.Option("--into", help="PostgreSQL: the new data folder to make of it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="SQLite: even while somebody has the catalogue open.")] = False,
    as_json_: Json = False,
) -> None:
    """Go back to a backup: the file takes the catalogue's place, which is kept; PostgreSQL's becomes a new data folder."""
    config, began_s = configuration.load(), time.monotonic()
    if not source.exists():
        raise OperatorError(f"There is no {source}; `ls {config.home / 'backups'}` shows the backups of the usual place.")
    if not os.access(source, os.R_OK):
        raise OperatorError(f"{source} may not be read by this user; run the command as its owner.")
    with _undone(into or config.home):
        report = _restore_instance(source, into) if source.is_dir() else _restore_file(config, source, into, force=force)
    report["seconds"] = round(time.monotonic() - began_s, 1)
    if as_json_:
        as_json(report)
        return
    for line in _restored_file(report) if "catalogue" in report else _restored_instance(report):
        tell(line)


def _target(config: Config, target: Path | None) -> Path:
    name = (_FOLDER if config.on_postgres else _FILE).format(datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
    if target is None:
        return config.home.absolute() / "backups" / name
    target = _whole_path(target)
    return target / name if target.is_dir() and not (target / _ABOUT).exists() else target


def _whole_path(path: Path) -> Path:
    try:
        return setting_values.whole_path(path)
    except ValueError as error:
        raise OperatorError(f"{path} cannot be used {error}.") from None


def _require_free(path: Path, *, force: bool) -> None:
    if not path.exists():
        return
    if not force:
        raise OperatorError(f"{path} is there already; name another, or take its place with --force.")
    if not path.is_file() and not path.is_dir():
        raise OperatorError(f"{path} is a device, a pipe or a socket, and a backup does not take its place; name another.")
    if path.is_dir() and not (path / _ABOUT).exists():
        raise OperatorError(f"{path} is no backup, and a backup does not take its place; name another.")


@contextmanager
def _undone(path: Path) -> Iterator[None]:
    """Say what to do when a disk refuses, and that nothing is left of what was broken off."""
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{path} cannot be written ({error.strerror or error}); {_remedy(error)}.") from error
    except KeyboardInterrupt as error:
        tell("Interrupted; what was there is as it was.")
        raise typer.Exit(130) from error


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room, or choose another place"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "run the command as the owner of that folder, or choose another place"
    if error.errno == errno.EROFS:
        return "choose a place on a disk that can be written, or mount it read-write"
    return "choose another place"


def _back_up_file(config: Config, path: Path) -> dict[str, Any]:
    from matinee.storage import backups

    catalogue = config.database_path
    if not catalogue.exists():
        raise OperatorError(f"There is no catalogue at {catalogue}; set MATINEE_HOME or DATABASE_URL to the one to copy.")
    if path.exists() and path.samefile(catalogue):
        raise OperatorError(f"{path} is the catalogue itself; name another file.")
    with progress("Copying", catalogue.stat().st_size, "MiB") as advance:
        found = backups.take(catalogue, path, lambda done, _: advance(done, done // _MIB))
    return {"what": str(catalogue), "path": str(path), "position": found.position}


def _back_up_instance(config: Config, path: Path, from_follower: bool) -> dict[str, Any]:
    from matinee.ops import base_backup
    from matinee.storage import backup_source

    if config.pgbouncer:
        raise OperatorError("A base backup does not go through PgBouncer; set DATABASE_URL straight to the leader for this.")
    source = backup_source.look(config.follower_urls[0] if from_follower else config.database_url)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    tell(f"Copying {source.name} ...")
    about = {"what": source.name, "path": str(path), "position": source.position}
    about |= {"database": source.database, "postgresql": source.version}
    try:
        base_backup.take(source.conninfo, source.password, draft)
        private_files.make_file(draft / _ABOUT)
        (draft / _ABOUT).write_text(json.dumps(about | {"path": path.name}, indent=1) + "\n", encoding="utf-8")
        base_backup.sync(draft)
        if path.exists():
            shutil.rmtree(path)
        draft.rename(path)
        base_backup.sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return about


def _remove_old(config: Config, keep: int, made: Path) -> list[Path]:
    """Remove the oldest backups of the usual place; what has another name than they have is nobody's to remove."""
    name = re.compile((_FOLDER if config.on_postgres else _FILE).replace(".", r"\.").format(_STAMP))
    found = sorted(path for path in (config.home / "backups").iterdir() if name.fullmatch(path.name))
    # A name of the future is of a clock that was ahead. It would count as the newest and this backup as an old one.
    old = [path for path in found if path.name < made.name][: -(keep - 1) or None]
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return old


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _restore_file(config: Config, source: Path, into: Path | None, *, force: bool) -> dict[str, Any]:
    from matinee.cli.catalogue import sample_marker
    from matinee.cli.home import set_up

    if into or config.on_postgres:
        raise OperatorError(
            f"{source} is no base backup of PostgreSQL, but a file: unset DATABASE_URL and leave out --into to restore a "
            "catalogue of SQLite. Into PostgreSQL it comes by `matinee export ndjson` and `matinee import ndjson`."
        )
    _require_unpacked(source)
    config = set_up(config)
    from matinee.storage import backups, schema

    catalogue = config.database_path.resolve()  # where a link leads to another disk, the file is there
    if catalogue.exists() and source.samefile(catalogue):
        raise OperatorError(f"{source} is the catalogue itself; name a backup of it.")
    if not force:
        _require_unused(catalogue)
    kept = _name_to_keep(catalogue)
    missing = 0

    def check(found: backups.Found) -> None:
        nonlocal missing
        missing = schema.missing_in(str(source), found.migrations)

    with progress("Restoring", source.stat().st_size, "MiB") as advance:
        done = backups.restore(source, catalogue, kept, check, lambda done, _: advance(done, done // _MIB), is_forced=force)
    # An interrupted loading of the sample was the other catalogue's.
    sample_marker(config).unlink(missing_ok=True)
    return {
        "catalogue": str(catalogue),
        "source": str(source),
        "kept": str(done.kept) if done.kept else None,
        "position_before": done.position_before,
        "position": done.found.position,
        "missing_migrations": missing,
    }


def _require_unpacked(source: Path) -> None:
    with source.open("rb") as file:
        head = file.read(4)
    for beginning, program in _PACKED.items():
        if head.startswith(beginning):
            raise OperatorError(f"{source} is compressed; unpack it with `{program} -dk {source}`, and restore that file.")


def _name_to_keep(catalogue: Path) -> Path:
    """Return the name that the catalogue before a restore is kept under; two of one second have two."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    endings = chain([""], (f"-{number}" for number in count(2)))
    names = (catalogue.with_name(f"{catalogue.stem}-before-{moment}{ending}{catalogue.suffix}") for ending in endings)
    return next(name for name in names if not name.exists())


def _require_unused(catalogue: Path) -> None:
    from matinee.ops.processes import users_of
    from matinee.storage import backups

    pids = users_of(catalogue)
    if pids:
        raise OperatorError(
            f"{catalogue} is in use by process {', '.join(map(str, pids))}; end the server where it was started (Ctrl-C), and "
            "every other `matinee` that works on it, then try again. With --force it is replaced under them."
        )
    backups.require_unused(catalogue)


def _restored_file(report: dict[str, Any]) -> Iterator[str]:
    before, position = report["position_before"], report["position"]
    came = f"from position {before:,} to {position:,}" if before is not None else f"at position {position:,}"
    yield f"{report['catalogue']} is restored, {came}, in {report['seconds']} s."
    if report["kept"]:
        yield f"The catalogue before it is kept in {report['kept']}; remove it when you do not need it."
    if report["missing_migrations"]:
        yield f"Its schema is old: {report['missing_migrations']} migrations are missing. Run `matinee migrate`."
    yield "Caches notice by themselves that it is another history. Whoever follows the log from outside begins anew."


def _restore_instance(source: Path, into: Path | None) -> dict[str, Any]:
    from matinee.ops import base_backup
    from matinee.ops.postgres import program, server_user

    try:
        about = json.loads((source / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OperatorError(f"{source} is no backup that `matinee backup` made; name one.") from error
    if into is None:
        raise OperatorError(
            f"{source} is of PostgreSQL: name the new data folder with --into, as --into /srv/postgresql/restored."
        )
    folder = _whole_path(into)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OperatorError(f"{folder} is there already and not empty; name a new folder.")
    base_backup.require_reachable(folder.parent)
    tell(f"Unpacking and checking {source} ...")
    made = base_backup.unpack(source, folder)
    return {
        "folder": str(folder),
        "source": str(source),
        "position": about["position"],
        "database": about["database"],
        "postgresql": made.version,
        "added_settings": made.added,
        "user": server_user(),
        "pg_ctl": program("pg_ctl", made.version),
    }


def _restored_instance(report: dict[str, Any]) -> Iterator[str]:
    as_user = f"runuser -u {report['user']} -- " if report["user"] else ""
    yield f"{report['folder']} is restored, position {report['position']:,} or later, in {report['seconds']} s. What is next:"
    if report["added_settings"]:
        yield f"  complete it  {', '.join(report['added_settings'])} are plain ones; add what the old server has in its own"
    start = f"{as_user}{report['pg_ctl']} -D {report['folder']} -l {report['folder']}/start.log"
    yield f"  start it     {start} -o '-p 5433' -w start"
    yield f"  look at it   DATABASE_URL=postgresql://USER:PASSWORD@127.0.0.1:5433/{report['database']} matinee doctor"
    yield "  use it       set DATABASE_URL to it, make the followers anew from it, start the servers"

"""Copies of the SQLite catalogue: taken while it is used, checked, and put in its place again. Called by cli/backup.py.

Invariants: what stands under a copy's name is whole, checked and on disk; until then it is a hidden draft beside it. A
catalogue that is replaced is kept. A log never lies beside a file that it does not belong to: SQLite would write it into that.
"""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from matinee.errors import DatabaseError
from matinee.storage.schema import APPLICATION_ID

_STEP_PAGES = 2_560  # 10 MiB: how often progress is told, and a Ctrl-C is heard
_ALONE_WITHIN_S = 1.0  # whoever has the file open keeps it open: waiting longer is of no use
_WRITER_WITHIN_S = 10.0  # a batch of an import takes about a second
_BESIDE = ("-wal", "-shm", "-journal")

# What lies in permissions and disks, not in what the file holds.
_OF_THE_DISK = (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)

# What is called while pages are copied, with the bytes that are done and all of them.
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """What a checked copy holds: the newest position of its log, and the migrations that it has been through."""

    position: int
    migrations: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Restored:
    """What a restore did: the copy, where the catalogue before it is kept and its position, None where there was none."""

    found: Found
    kept: Path | None
    position_before: int | None


def take(catalogue: Path, target: Path, watch: Watch) -> Found:
    """Copy the catalogue into one file, which takes the place of what has its name. Raises: DatabaseError, OSError.

    Writers are not held up: the copy is of one moment, and what they write meanwhile stays in the write-ahead log.
    """
    with _draft(target) as draft:
        position = _copy(catalogue, draft, watch)
        found = look(draft, f"The copy of {catalogue}")
        if found.position != position:
            raise DatabaseError(
                f"The copy is at position {found.position} and not at {position}, where it was taken; try again."
            )
        _sync(draft)
        draft.replace(target)
        _sync(target.parent)
    return found


def look(path: Path, name: str) -> Found:
    """Check that a file, which people know by a name, is a whole catalogue, and return what it holds. Raises: DatabaseError."""
    try:
        with closing(_open(path)) as file:
            rows = file.execute("PRAGMA quick_check(3)").fetchall()
            faults = [" ".join(str(line).split()) for (line,) in rows if line != "ok"]
            ((newest,),) = file.execute("SELECT coalesce(max(position), 0) FROM change")
            position = _position(file)
            migrations = frozenset(file.execute("SELECT app, name FROM django_migrations"))
    except sqlite3.Error as error:
        raise _unusable(name, error) from error
    if newest != position:
        faults.append(f"its head is at position {position} and its log at {newest}")
    if faults:
        raise DatabaseError(f"{name} is damaged ({'; '.join(faults)}). Take another copy, or restore an older one.")
    return Found(position, migrations)


def require_unused(catalogue: Path) -> None:
    """Refuse a catalogue that anybody has open. One that cannot be read is left to the restore. Raises: DatabaseError."""
    if not catalogue.exists():
        return
    with closing(_open_to_write(catalogue, _ALONE_WITHIN_S)) as file:
        try:
            file.execute("PRAGMA locking_mode = EXCLUSIVE")
            file.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if _is_locked(error):
                raise _in_use(catalogue) from error


def restore(
    source: Path, catalogue: Path, kept: Path, check: Callable[[Found], None], watch: Watch, *, is_forced: bool = False
) -> Restored:
    """Put a checked copy of a file in the catalogue's place; what was there is kept. Raises: DatabaseError, OSError.

    `check` is asked before anything is replaced. Unless `is_forced` nobody may have the catalogue open; if somebody has, the
    copy takes its place between two of their writes.
    """
    with _draft(catalogue) as draft:
        _copy(source, draft, watch)
        found = look(draft, str(source))
        check(found)
        _log_ahead(draft, source)
        _own_like(draft, catalogue)
        _sync(draft)
        with _held(catalogue, is_forced=is_forced) as position_before:
            is_kept = catalogue.exists()
            _swap(draft, catalogue, kept)
        _sync(catalogue.parent)
    return Restored(found, kept if is_kept else None, position_before)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a new file beside a target, for nobody else to read: a catalogue holds digests of passwords and keys."""
    _remove_abandoned(target)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        yield draft
    finally:
        for path in (draft, *_beside(draft)):
            path.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    """Remove the drafts of processes that were killed in the middle of a copy to the same name."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        pid = path.name.rpartition(".part")[0].rpartition(".")[2]
        if pid.isdigit() and int(pid) != os.getpid() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)


def _copy(source: Path, draft: Path, watch: Watch) -> int:
    """Copy one moment of a catalogue into an empty file, and return its position then."""
    try:
        with closing(_open(source)) as file, closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            _require_ours(source, file)
            # Without a transaction around all steps, each commit of somebody else would make the copying begin anew, and under
            # an import it would never end.
            file.execute("BEGIN")
            position = _position(file)
            ((page_bytes,),) = file.execute("PRAGMA page_size")
            copy.execute("PRAGMA synchronous = OFF")  # it is synced once, when it is whole
            file.backup(
                copy, pages=_STEP_PAGES, progress=lambda _, left, all_: watch((all_ - left) * page_bytes, all_ * page_bytes)
            )
            # One file, which can be read where nothing can be written.
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise _unusable(source, error) from error
    return position


def _log_ahead(draft: Path, source: Path) -> None:
    """Have the copy written to as the catalogue is, from its first moment on."""
    try:
        with closing(sqlite3.connect(draft)) as file:
            file.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise _unusable(source, error) from error


def _open(path: Path) -> sqlite3.Connection:
    """Open a file to read. To read a write-ahead log, SQLite makes a file beside it, which a read-only disk refuses."""
    log = path.with_name(path.name + "-wal")
    is_still = _is_read_only(path) and not (log.exists() and log.stat().st_size)
    options = "mode=ro&immutable=1" if is_still else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, timeout=_WRITER_WITHIN_S)


def _is_read_only(path: Path) -> bool:
    """Return whether a file's disk is mounted read-only, so that nothing changes it."""
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _open_to_write(path: Path, within_s: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=within_s)


def _require_ours(path: Path, file: sqlite3.Connection) -> None:
    ((application_id,),) = file.execute("PRAGMA application_id")
    if application_id != APPLICATION_ID:
        raise DatabaseError(f"{path} is no catalogue of Matinee; name a file that `matinee backup` made.")


def _position(file: sqlite3.Connection) -> int:
    ((position,),) = file.execute("SELECT position FROM log_head WHERE id = 1")
    return int(position)


@contextmanager
def _held(catalogue: Path, *, is_forced: bool) -> Iterator[int | None]:
    """Keep everybody else from the catalogue while it is moved, and yield its position; None where it cannot be read."""
    if not catalogue.exists():
        yield None
        return
    with closing(_open_to_write(catalogue, _ALONE_WITHIN_S)) as file:
        yield _hold(catalogue, file, is_forced=is_forced)


def _hold(catalogue: Path, file: sqlite3.Connection, *, is_forced: bool) -> int | None:
    try:
        # Works for whoever has it alone. What is in its log goes into the file, so that one file is all there is to keep.
        file.execute("PRAGMA journal_mode = DELETE")
        file.execute("BEGIN EXCLUSIVE")
        return _position(file)
    except sqlite3.Error as error:
        if _is_locked(error) and not is_forced:
            raise _in_use(catalogue) from error
    try:
        file.execute(f"PRAGMA busy_timeout = {int(_WRITER_WITHIN_S * 1000)}")
        file.execute("BEGIN IMMEDIATE")
        return _position(file)
    except sqlite3.Error as error:
        if _is_locked(error):
            raise DatabaseError(
                f"Somebody writes to {catalogue} and does not stop; end what writes to it, then try again."
            ) from error
        return None  # it is broken, which is what a restore is for


def _swap(draft: Path, catalogue: Path, kept: Path) -> None:
    if kept.exists():
        raise DatabaseError(f"{kept} is there already; try again in a second.")
    beside = [path for path in _beside(catalogue) if path.exists()]
    if not beside and _is_linked(catalogue, kept):
        draft.replace(catalogue)  # at no moment there was none
        return
    if catalogue.exists():
        catalogue.rename(kept)
    for path in beside:
        path.rename(path.with_name(path.name.replace(catalogue.name, kept.name, 1)))
    draft.replace(catalogue)


def _is_linked(catalogue: Path, kept: Path) -> bool:
    """Give the catalogue a second name, where the disk knows such a thing."""
    try:
        os.link(catalogue, kept)
    except OSError:
        return False
    return True


def _own_like(draft: Path, catalogue: Path) -> None:
    """Give a draft to the owner of the catalogue, alone: root may restore what another user serves."""
    there = catalogue if catalogue.exists() else catalogue.parent
    found = there.stat()
    with suppress(PermissionError):
        os.chown(draft, found.st_uid, found.st_gid)
    draft.chmod(0o600)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in _BESIDE]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _in_use(catalogue: Path) -> DatabaseError:
    return DatabaseError(f"{catalogue} is in use; end the server and every other `matinee` that works on it, then try again.")


def _unusable(path: Path | str, error: sqlite3.Error) -> DatabaseError:
    """Return what is wrong with a file, or with its disk, and what to do about that."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DatabaseError(f"There is no room for the copy of {path} ({error}); make room, or choose another folder.")
    if _is_locked(error):
        return DatabaseError(f"{path} is locked by another program ({error}); try again when that has ended.")
    if code in _OF_THE_DISK and isinstance(path, Path):
        return DatabaseError(_trouble(path, error))
    return DatabaseError(
        f"{path} is damaged, or no catalogue of Matinee ({error}); take another copy, or restore an older one."
    )


def _trouble(path: Path, error: sqlite3.Error) -> str:
    """Say why a file that may be whole cannot be read."""
    if not path.exists():
        return f"There is no {path}; name a file that is there."
    if not os.access(path, os.R_OK):
        return f"{path} may not be read by this user; run the command as its owner."
    if _is_read_only(path):
        return (
            f"{path} is on a read-only disk with a write-ahead log beside it, which can only be read where files can be made. "
            f"Copy {path.name} and {path.name}-wal to another folder, and use that copy."
        )
    if not os.access(path.parent, os.W_OK):
        return f"{path.parent} may not be written to by this user, which SQLite needs; run the command as the owner of {path}."
    return f"The disk of {path} fails ({error}); look at the system's log, and copy what can still be read to another disk."

"""A base backup of a PostgreSQL instance: taken, compared with its manifest, made a data folder again. Called by cli/backup.py.

The format is tar with gzip: a third of the room, and a folder of four files that can be carried anywhere. pg_verifybackup of
PostgreSQL 15 to 17 reads no tar, so every file in it is compared with the manifest here, right after it was written; what was
unpacked is then looked at by pg_verifybackup too, which also reads the log that makes it consistent.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from matinee.errors import OperatorError
from matinee.ops.postgres import environment, own, program, server_user
from matinee.ops.processes import run

MANIFEST = "backup_manifest"
_FILES, _LOG = "base.tar.gz", "pg_wal.tar.gz"
_CHUNK_BYTES = 2**20
_GZIP = (
    "--compress=client-gzip:1"  # the usual level takes twice the time for a tenth less; the client, because the server serves
)
# Variables that change what a session does, not where the server is.
_CHANGES_A_SESSION = ("PGOPTIONS", "PGCLIENTENCODING", "PGGEQO", "PGTZ", "PGDATESTYLE", "PGAPPNAME")
# Of a follower: without them what was restored stands alone, as a leader.
_SIGNALS = ("standby.signal", "recovery.signal")
# For an instance that keeps its settings elsewhere, as Debian's do in /etc/postgresql: PostgreSQL does not start without them.
_SETTINGS = {
    "postgresql.conf": "# Written by `matinee restore`: the backup had no settings. Add those that its server has.\n",
    "pg_hba.conf": """# Written by `matinee restore`: this machine's users as themselves, all others on loopback by password.
local all all peer
host all,replication all 127.0.0.1/32 scram-sha-256
host all,replication all ::1/128 scram-sha-256
""",
    "pg_ident.conf": "",
}


@dataclass(frozen=True)
class Expected:
    """A file as the manifest of a backup has it."""

    size_bytes: int
    sha256: str


def take(conninfo: str, password: str, folder: Path) -> None:
    """Copy a running instance, leader or follower, into a new folder, and compare it with its manifest. Raises: OperatorError.

    PostgreSQL verifies the checksums of its pages on the way, where the instance has them.
    """
    command = [program("pg_basebackup"), "-d", conninfo, "-D", str(folder), "--format=tar", _GZIP, "--wal-method=stream"]
    options = ["--checkpoint=fast", "--manifest-checksums=SHA256", "--no-password", "--label=matinee backup"]
    # The server is reached as the service reaches it, by variables such as PGSSLMODE and PGPASSFILE too.
    stated = {name: value for name, value in os.environ.items() if name not in _CHANGES_A_SESSION}
    variables = {**stated, "LC_ALL": "C"} | ({"PGPASSWORD": password} if password else {})
    try:
        run([*command, *options], environment=variables)
    except OperatorError as error:
        raise OperatorError(f"{error.detail}\n{_remedy(error.detail)}") from error
    folder.chmod(0o700)
    for path in folder.iterdir():
        path.chmod(0o600)
    compare(folder)


def _remedy(said: str) -> str:
    if "pg_hba.conf" in said:
        return "Add a line `host replication ROLE ADDRESS scram-sha-256` to pg_hba.conf of the server and reload it."
    if "No space left" in said:
        return "Make room, or choose another folder."
    return "Nothing was left behind; mend it, then try again."


def compare(backup: Path, into: Path | None = None) -> None:
    """Compare every file in a backup with its manifest; each is unpacked too, where a folder is given.

    Raises: OperatorError when one is missing, too many or other than it was.
    """
    with _readable(backup):
        manifest = _manifest(backup)
        expected = _expected(manifest)
        for name, found in _copied_files(backup / _FILES, into):
            if expected.pop(name, None) != found:
                raise _damaged(backup, f"{name} is not as the manifest says")
        log = {name: found.size_bytes for name, found in _copied_files(backup / _LOG, into and into / "pg_wal")}
        if not log:
            raise _damaged(backup, f"{_LOG} is empty")
        missing = [*sorted(expected), *sorted(_segments(manifest, max(log.values())) - log.keys())]
    if missing:
        raise _damaged(backup, f"{missing[0]} is missing")


@dataclass(frozen=True)
class Unpacked:
    """A data folder that was made: of which version of PostgreSQL, and which of its settings were not in the backup."""

    version: int
    added: list[str]


def unpack(backup: Path, folder: Path) -> Unpacked:
    """Make a data folder that PostgreSQL starts from. Raises: OperatorError.

    The backup holds the log that was written meanwhile: the first start replays it, and then all is of one moment.
    """
    user = server_user()
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    draft.mkdir(mode=0o700)
    try:
        compare(backup, draft)
        shutil.copyfile(backup / MANIFEST, draft / MANIFEST)
        for path in (draft, *draft.rglob("*")):
            own(path)
        version = int((draft / "PG_VERSION").read_text(encoding="utf-8"))
        run([program("pg_verifybackup", version), "--quiet", str(draft)], user, environment())
        for name in _SIGNALS:
            (draft / name).unlink(missing_ok=True)
        added = add_settings(draft)
        os.sync()
        draft.rename(folder)
    except OSError as error:
        raise OperatorError(f"{folder} cannot be written ({error.strerror or error}); make room, or name another.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Unpacked(version, added)


def add_settings(data: Path) -> list[str]:
    """Write plain files of settings where there are none, and return their names."""
    added = {data / name: text for name, text in _SETTINGS.items() if not (data / name).exists()}
    for path, text in added.items():
        path.write_text(text)
        path.chmod(0o600)
        own(path)
    return [path.name for path in added]


def sync(folder: Path) -> None:
    """Bring what lies in a folder to the disk."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_reachable(folder: Path) -> None:
    """Refuse a folder that PostgreSQL's user could not enter. Raises: OperatorError."""
    try:
        run(["test", "-x", str(folder)], server_user())
    except OperatorError as error:
        raise OperatorError(
            f"PostgreSQL runs as the user {server_user()}, who cannot enter {folder}; "
            "name another folder, as --into /var/lib/postgresql/restored."
        ) from error


def _copied_files(archive: Path, into: Path | None) -> Iterator[tuple[str, Expected]]:
    """Yield the files of an archive as they are; each is unpacked too, where a folder is given."""
    with gzip.open(archive) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as tar:
        for member in tar:
            path = into / member.name if into else None
            content = tar.extractfile(member) if member.isfile() else None
            if Path(member.name).is_absolute() or ".." in Path(member.name).parts or not (content or member.isdir()):
                raise _damaged(archive.parent, f"{member.name} is nothing that belongs into a data folder")
            if content is not None:
                yield member.name, _copied(content, path)
            elif path is not None:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        while unzipped.read(_CHUNK_BYTES):
            pass  # to its end, where gzip's own checksum stands


def _copied(content: IO[bytes], path: Path | None) -> Expected:
    """Read a file to its end, and write it where a path is given; return how it was."""
    digest, size_bytes = hashlib.sha256(), 0
    with _written(path) as output:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
            if output is not None:
                output.write(chunk)
    return Expected(size_bytes, digest.hexdigest())


@contextmanager
def _written(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        yield output


def _manifest(backup: Path) -> Mapping[str, Any]:
    text = (backup / MANIFEST).read_bytes()
    found: dict[str, Any] = json.loads(text)
    if hashlib.sha256(text[: text.rindex(b'"Manifest-Checksum"')]).hexdigest() != found["Manifest-Checksum"]:
        raise _damaged(backup, "the manifest was changed")
    return found


def _expected(manifest: Mapping[str, Any]) -> dict[str, Expected]:
    return {item["Path"]: Expected(item["Size"], item["Checksum"]) for item in manifest["Files"]}


def _segments(manifest: Mapping[str, Any], segment_bytes: int) -> set[str]:
    """Return the files of the log that the start from this backup needs; their size is the same for all of an instance."""
    names = set()
    for item in manifest["WAL-Ranges"]:
        first, end = (_bytes_of(item[key]) for key in ("Start-LSN", "End-LSN"))
        per_number = 2**32 // segment_bytes
        for index in range(first // segment_bytes, (end - 1) // segment_bytes + 1):
            names.add(f"{item['Timeline']:08X}{index // per_number:08X}{index % per_number:08X}")
    return names


def _bytes_of(lsn: str) -> int:
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@contextmanager
def _readable(backup: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise _damaged(backup, " ".join(str(error).split()) or repr(error)) from error


def _damaged(backup: Path, reason: str) -> OperatorError:
    return OperatorError(f"{backup} is no whole base backup of Matinee ({reason}); take another one.")

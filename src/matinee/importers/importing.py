"""Run an import: records in batches to the write path, rejected ones into a file, progress to a callback.

Called by cli. Each batch is one transaction, so a kill in the middle leaves whole batches, and the same command again
finishes the job: movies that exist already are found unchanged. An input that breaks off is imported up to there, and the
error says how far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from matinee import private_files
from matinee.errors import OperatorError
from matinee.importers.source import SourceError
from matinee.write import batches
from matinee.write.batches import Record


@dataclass(frozen=True)
class Rejected:
    """A record that was not imported: where it stands, why, and its beginning."""

    line: int
    reason: str
    record: str


@dataclass
class Report:
    """What an import has done so far."""

    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejected_file: str | None = None


# What opens the file for rejected records: it may choose another name than the given one, and returns the one it chose.
OpenRejected = Callable[[Path], tuple[Path, BinaryIO]]


def _replaced(path: Path) -> tuple[Path, BinaryIO]:
    return path, private_files.open_file(path)


def run(
    records: Iterable[Record | Rejected],
    *,
    actor: str,
    batch_rows: int,
    rejected_path: Path,
    open_rejected: OpenRejected = _replaced,
    watch: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Import the records and return what was done; the file of rejected ones is made only when there are some."""
    report, claims, broken = Report(), batches.Claims(), list[SourceError]()
    rejections = _Rejections(rejected_path, open_rejected, report)
    try:
        for batch in batches.split(_good(records, rejections, broken), batch_rows):
            outcome = batches.write(batch, actor, claims)
            report.read += len(batch)
            report.added += outcome.added
            report.changed += outcome.changed
            report.unchanged += outcome.unchanged
            for record, reason in outcome.rejected:
                rejections.add(Rejected(record.line, reason, record.content.title))
            watch(report)
    finally:
        rejections.close()
    if broken:
        raise OperatorError(f"{broken[0].detail}\n{_so_far(report)}") from broken[0]
    return report


def _good(records: Iterable[Record | Rejected], rejections: _Rejections, broken: list[SourceError]) -> Iterator[Record]:
    """Yield the records that can be imported; where the input breaks, end, so that the records before it are written."""
    try:
        for record in records:
            if isinstance(record, Rejected):
                rejections.add(record, read=True)
            else:
                yield record
    except SourceError as error:
        broken.append(error)


def _so_far(report: Report) -> str:
    if not report.read:
        return "Nothing was imported."
    return (
        f"Imported before that: {report.read:,} read, {report.added:,} added, {report.changed:,} changed, "
        f"{report.unchanged:,} unchanged, {report.rejected:,} rejected."
    )


class _Rejections:
    """The file of rejected records, one JSON object a line."""

    def __init__(self, path: Path, open_file: OpenRejected, report: Report) -> None:
        self._path, self._open, self._report = path, open_file, report
        self._file: BinaryIO | None = None

    def add(self, rejected: Rejected, *, read: bool = False) -> None:
        """Write a rejected record down; `read` says that it has not been counted as read yet."""
        if self._file is None:
            self._file = self._opened()
            self._report.rejected_file = str(self._path)
        self._file.write(msgspec.json.encode(rejected) + b"\n")
        self._report.rejected += 1
        self._report.read += read

    def _opened(self) -> BinaryIO:
        try:
            self._path, file = self._open(self._path)
        except OSError as error:
            raise OperatorError(
                f"There are rejected records to tell of, and {self._path} cannot be written ({error.strerror or error}); "
                "choose another file with --rejected."
            ) from error
        return file

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

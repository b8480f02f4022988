"""`migrate`, `import`, `export`, `sample`: what is in the catalogue."""

from __future__ import annotations

import asyncio
import gzip
import lzma
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import IO, Annotated, Any, BinaryIO

import typer

from matinee.cli.cluster_settings import load_settings
from matinee.cli.home import open_catalogue, upgrade_catalogue
from matinee.cli.output import Json, as_json, progress, tell
from matinee.cli.output_files import Force, open_named, open_numbered, open_output, require_new, require_output
from matinee.config import Config

InputPath = Annotated[str, typer.Argument(help="A file, plain or as .gz, .xz or .bz2; - for standard input.")]
RejectedPath = Annotated[Path | None, typer.Option("--rejected", help="File for the records that are rejected.")]


def migrate(as_json_: Json = False) -> None:
    """Make the catalogue, or bring its schema up to date."""
    config, applied = upgrade_catalogue(load_settings(as_owner=True))
    if as_json_:
        as_json({"database": config.database_name, "applied": applied})
    else:
        tell(f"{config.database_name}: {f'{len(applied)} migrations applied' if applied else 'up to date'}.")


def import_ndjson(path: InputPath, rejected: RejectedPath = None, force: Force = False, as_json_: Json = False) -> None:
    """Bring in Matinee NDJSON: what `export ndjson` wrote, or the flat form of the sample."""
    config = open_catalogue()
    from matinee.importers import ndjson

    _import(config, path, ndjson.read, as_json_, rejected, force=force)


def import_fynd(path: InputPath, rejected: RejectedPath = None, force: Force = False, as_json_: Json = False) -> None:
    """Bring in a JSON array in the fynd format."""
    config = open_catalogue()
    from matinee.importers import fynd

    _import(config, path, fynd.read, as_json_, rejected, force=force)


def _import(
    config: Config, path: str, read: Callable[[IO[bytes]], Any], as_json_: bool, rejected: Path | None, *, force: bool
) -> None:
    if rejected:
        require_output(config, rejected, path)
        require_new(rejected, force=force)
    report = run_import(config, path, read, rejected)
    if as_json_:
        as_json(asdict(report))
    else:
        tell(
            f"{report.read:,} read: {report.added:,} added, {report.changed:,} changed, "
            f"{report.unchanged:,} unchanged, {report.rejected:,} rejected."
        )
        if report.rejected:
            tell(f"The rejected records and their reasons are in {report.rejected_file}")
    raise typer.Exit(1 if report.rejected else 0)


def run_import(config: Config, path: str, read: Callable[[IO[bytes]], Any], rejected: Path | None, what: str = "") -> Any:
    """Import a file with progress and return the report. Without a path, rejected records go into a new file."""
    from matinee.importers import importing
    from matinee.importers.source import open_source

    name = "stdin" if path == "-" else Path(path).name
    with (
        open_source(path, "fynd" if read.__module__.endswith("fynd") else "ndjson") as source,
        progress(f"Importing {what or name}", source.size_bytes) as advance,
    ):
        return importing.run(
            read(source.stream),
            actor="cli:import",
            batch_rows=config.import_batch_rows,
            rejected_path=rejected or config.home / "rejected" / f"{name}.ndjson",
            open_rejected=open_named if rejected else open_numbered,
            watch=lambda report: advance(source.read_bytes(), report.read),
        )


def sample(as_json_: Json = False) -> None:
    """Load the sample catalogue: 17,470 films from Wikidata, CC0-1.0. Movies that are there stay as they are."""
    config = open_catalogue()
    report = _import_sample(config)
    as_json(asdict(report)) if as_json_ else tell(f"{report.added:,} films added, {report.unchanged:,} were there.")


def load_sample(config: Config) -> None:
    """Load the sample into an empty catalogue, or finish a loading that was interrupted; else do nothing."""
    from matinee.storage.models import LogHead

    marker = sample_marker(config)
    if LogHead.objects.get(pk=1).position and not marker.exists():
        return
    marker.touch()
    report = _import_sample(config)
    marker.unlink()
    tell(f"Sample catalogue loaded: {report.added + report.unchanged:,} films.")


def sample_marker(config: Config) -> Path:
    """Return the file that is there while the sample is being loaded into the catalogue."""
    return config.home / "sample-is-loading"


def _import_sample(config: Config) -> Any:
    from matinee.importers import ndjson

    with resources.as_file(resources.files("matinee.sample") / "movies.ndjson.xz") as path:
        return run_import(config, str(path), ndjson.read, None, "the sample catalogue")


def export_ndjson(
    path: Annotated[str, typer.Argument(help="A new file, .gz or .xz to compress it; - for standard output.")] = "-",
    force: Force = False,
) -> None:
    """Write every movie, one a line, in the order of their last changes; `import ndjson` reads it back."""
    config = open_catalogue(is_reading=True)
    if path != "-":
        require_output(config, Path(path))
        require_new(Path(path), force=force)
    from matinee import runtime

    catalogue = runtime.build(config).catalogue

    async def write() -> int:
        total, count = await catalogue.count(), 0
        with _open_export(path) as output, progress("Exporting", total) as advance:
            async for body in catalogue.documents():
                output.write(body + b"\n")
                count += 1
                if count % 1000 == 0:
                    advance(count, count)
        await catalogue.close()
        return count

    tell(f"{asyncio.run(write()):,} movies exported.")


@contextmanager
def _open_export(path: str) -> Iterator[Any]:
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    compressed: Callable[[BinaryIO, str], Any] | None = {".gz": gzip.open, ".xz": lzma.open}.get(Path(path).suffix)  # type: ignore[assignment]
    with open_output(Path(path)) as file, compressed(file, "wb") if compressed else nullcontext(file) as output:
        yield output

"""Make a catalogue of many synthetic movies, a million by default, exactly as the write path would have made it.

Run from the root of the repository: `python -m bench.synthetic --home FOLDER`. It writes rows and documents with the
project's own encoders and log of changes, but looks nothing up (it knows what is there), does not wait for the disk, and builds
the indexes at the end. `--check` makes a small catalogue this way and the same one through the write path, and compares every
table.
It must never be pointed at a catalogue that anybody needs: it refuses one that has movies.
"""

from __future__ import annotations

import argparse
import gc
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from bench import catalogues
from bench.synthetic_movies import SEED, movies
from matinee.domain.movie import MovieContent

_BATCH_ROWS = 10_000  # of the bulk way; a transaction of some 15 MB
_CHECKED_MOVIES = 3_000
_T = TypeVar("_T")

# What must be equal, and in which order; `at` of a change is the time of the run.
_COMPARED = (
    "SELECT * FROM movie ORDER BY id",
    "SELECT * FROM person ORDER BY id",
    "SELECT * FROM facet ORDER BY id",
    "SELECT * FROM credit ORDER BY id",
    "SELECT * FROM movie_facet ORDER BY id",
    "SELECT * FROM external_id ORDER BY id",
    "SELECT * FROM movie_document ORDER BY movie_id",
    "SELECT rowid, * FROM movie_search ORDER BY rowid",
    "SELECT position, subject, subject_id, kind, version, actor, detail FROM change ORDER BY position",
    "SELECT * FROM log_head",
    "SELECT name, sql FROM sqlite_master ORDER BY name",
)


def main() -> int:
    """Make the catalogue, or check that it is made rightly."""
    options = _options()
    if options.check:
        return _check(options)
    settings = catalogues.use(options.home.resolve())
    if catalogues.movie_ids(settings):
        sys.exit(f"{settings.database_path} has movies already; give an empty folder.")
    contents = movies(
        options.movies, people=options.people or max(options.movies // 3, 100), most_cast=options.most_cast, seed=options.seed
    )
    began_s = time.monotonic()
    _through_write_path(contents) if options.write_path else _in_bulk(contents, options.movies)
    taken_s = time.monotonic() - began_s
    size_gib = settings.database_path.stat().st_size / 2**30
    print(
        f"{options.movies:,} synthetic movies in {taken_s:,.0f} s, {options.movies / taken_s:,.0f} a second, {size_gib:.2f} GiB"
    )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.synthetic", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="empty folder for the catalogue")
    parser.add_argument("--movies", type=int, default=1_000_000, help="how many")
    parser.add_argument("--people", type=int, default=0, help="how many people there are to choose from; a third of the movies")
    parser.add_argument("--most-cast", type=int, default=10, help="the largest cast; credits are 3 to this and 3 more")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed is another catalogue")
    parser.add_argument("--write-path", action="store_true", help="write through the import, as slowly as that is")
    parser.add_argument("--check", action="store_true", help="compare both ways on a small catalogue")
    options = parser.parse_args()
    if options.home is None and not options.check:
        parser.error("say where: --home FOLDER")
    return options


def _batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _in_bulk(contents: Iterable[MovieContent], count: int) -> None:
    from bench.synthetic_rows import BulkWriter

    gc.disable()  # millions of objects and no cycle among them: looking for one costs a tenth of the time
    with BulkWriter() as writer:
        for number, batch in enumerate(_batched(contents, _BATCH_ROWS), start=1):
            writer.write(batch)
            if number % 10 == 0:
                print(f"{number * _BATCH_ROWS:,} of {count:,}", file=sys.stderr)


def _through_write_path(contents: Iterable[MovieContent]) -> None:
    """Import the movies as documents of an export, whose ids and times the import takes over."""
    from bench.synthetic_rows import ACTOR, Resolver
    from matinee.domain.movie import CONTENT_FIELDS
    from matinee.write import batches
    from matinee.write.batches import Record

    resolver, stated = Resolver(), frozenset(CONTENT_FIELDS)
    for batch in _batched(contents, 250):
        documents = [resolver.document(content) for content in batch]
        records = [Record(document.id, content, stated, document) for content, document in zip(batch, documents, strict=True)]
        outcome = batches.write(records, ACTOR)
        assert outcome.added == len(records), outcome


def _check(options: argparse.Namespace) -> int:
    """Make a small catalogue both ways and compare them; each in a process of its own, because Django knows one database."""
    with tempfile.TemporaryDirectory(prefix="matinee-bench-") as folder:
        homes = [Path(folder) / "bulk", Path(folder) / "write_path"]
        for home, more in zip(homes, ([], ["--write-path"]), strict=True):
            command = [sys.executable, "-m", "bench.synthetic", f"--home={home}", f"--movies={_CHECKED_MOVIES}", *more]
            subprocess.run([*command, f"--most-cast={options.most_cast}", f"--seed={options.seed}"], check=True)
        different = [query for query in _COMPARED if not _same(homes, query)]
    print("\n".join(f"DIFFERENT: {query}" for query in different) or f"All {len(_COMPARED)} comparisons are equal.")
    return 1 if different else 0


def _same(homes: list[Path], query: str) -> bool:
    connections = [sqlite3.connect(home / "catalogue.sqlite3") for home in homes]
    try:
        first, second = (connection.execute(query).fetchall() for connection in connections)
        return bool(first) and first == second
    finally:
        for connection in connections:
            connection.close()


if __name__ == "__main__":
    sys.exit(main())

"""What an import reads from: every file and pipe is read to its end, or refused by what it is, with what to type instead."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import pytest

from matinee.errors import OperatorError
from matinee.importers import fynd, importing, ndjson
from matinee.importers.source import open_source
from matinee.storage.models import Movie
from tests.integration.test_imports import sample_lines
from tests.processes import matinee

ONE, TWO = b'{"title":"One","year":1990}\n', b'{"title":"Two","year":1991}\n'
BOTH = ONE + TWO
NAMED = {
    "array": (b'[\n {\n  "title": "One"\n }\n]', "is a JSON array, not NDJSON. Write each element on a line: jq -c '.[]'"),
    "array on a line": (b'[{"title":"One"}]', "is a JSON array"),
    "spread": (b'{\n  "title": "One"\n}\n', "is JSON over several lines, not NDJSON. Write each object on one line: jq -c ."),
    "utf-16": (BOTH.decode().encode("utf-16"), "is text in UTF-16. Convert it first: iconv -f UTF-16 -t UTF-8"),
    "utf-16-le": (BOTH.decode().encode("utf-16-le"), "is text in UTF-16LE. Convert it first: iconv -f UTF-16LE -t UTF-8"),
    "utf-16-be": (BOTH.decode().encode("utf-16-be"), "is text in UTF-16BE"),
    "utf-32": (BOTH.decode().encode("utf-32"), "is text in UTF-32"),
    "utf-32-be": (BOTH.decode().encode("utf-32-be"), "is text in UTF-32BE"),
    "latin-1": (
        '{"title":"Amélie"}\n'.encode("latin-1") + BOTH,
        "8-bit encoding, not in UTF-8. Find out which. Convert it first: iconv -f ENCODING -t UTF-8",
    ),
    "csv": (b"title,year\nOne,1990\n", "is CSV, not NDJSON"),
    "tsv": (b"title\tyear\nOne\t1990\n", "is TSV, not NDJSON"),
    "html": (b"<!DOCTYPE html>\n<html>", "is HTML"),
    "xml": (b'<?xml version="1.0"?>', "is XML"),
    "zip": (b"PK\x03\x04....", "is a zip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    "tar": (b"movies.ndjson".ljust(257, b"\0") + b"ustar\x0000", "is a tar archive. Unpack it: tar -xOf"),
    "zstd": (b"\x28\xb5\x2f\xfd....", "is zstd. Decompress it: zstd -dc"),
    "lz4": (b"\x04\x22\x4d\x18....", "is lz4"),
    "sqlite": (b"SQLite format 3\x00", "is a SQLite database"),
    "parquet": (b"PAR1....", "is Parquet"),
    "pdf": (b"%PDF-1.7", "is PDF"),
    "openssl": (b"Salted__....", "is encrypted by OpenSSL"),
    "pgp": (b"-----BEGIN PGP MESSAGE-----\n", "is encrypted or signed by PGP"),
    "zeros": (b"\0" * 100, "begins with bytes of zero"),
    "gzip twice": (gzip.compress(gzip.compress(BOTH, mtime=0)), "is gzip within another compression"),
    "array of texts": (b'["a","b"]', "is a JSON array of other values than objects"),
    "array of arrays": (b'[["title"],["x"]]', "is a JSON array of other values than objects"),
    "zlib": (zlib.compress(BOTH), "is compressed as zlib. Decompress it: python3 -c"),
    "deflate": (zlib.compress(BOTH)[2:-4], "is compressed as raw deflate"),
    "brotli": (b"\x8b\x05\x80" + ONE + b"\x03", "is not text in UTF-8, but binary data"),
    "gzip after a byte order mark": (
        b"\xef\xbb\xbf" + gzip.compress(BOTH, mtime=0),
        "is gzip after other bytes (3). Remove them first: tail -c +4",
    ),
    "gzip after a line feed": (b"\n" + gzip.compress(BOTH, mtime=0), "is gzip after other bytes (1)"),
    "utf-16 after utf-8": (b"\xef\xbb\xbf" + BOTH.decode().encode("utf-16"), "is text in UTF-16 after other bytes (3)"),
    "utf-7": (b'+AHs-"title":"One"}', "is text in UTF-7"),
    "ebcdic": (BOTH.decode().encode("cp037"), "is text in EBCDIC. Convert it first: iconv -f CP037"),
    "sql": (b"-- PostgreSQL database dump\nSET x=1;\nINSERT INTO a VALUES (1,2);\n", "is SQL, not NDJSON"),
    "toml": (b'[[movie]]\ntitle="One"\n', "is TOML"),
    "one column": (b"title\nOne\nTwo\n", "is CSV of one column"),
    "base64": (b"eyJ0aXRsZSI6Ik9uZSJ9\n", "is encoded in base64, not NDJSON. Decode it: base64 -d"),
    "json5": (b"{title:'One'}\n{title:'Two'}\n", "is JSON5"),
    "python": (b"{'title': 'One'}\n{'title': 'Two'}\n", "has objects as Python prints them"),
    "wrapper": (b'{"movies":[{"title":"One"}]}', "jq -c '.movies[]'"),
    "wrapper over lines": (b'{\n "page": 1,\n "results": [\n  {"title":"One"}\n ]\n}', "jq -c '.results[]'"),
    "objects on one line": (b'{"title":"One"}{"title":"Two"}\n', "has several JSON objects on one line"),
    "commas": (b'{"title":"One"},\n{"title":"Two"},\n', "has a comma after each object"),
    "numbers": (b"1\n2\n", "none of its first 2 lines is a JSON object. A line must be one JSON object"),
    "tar.xz": (lzma.compress(b"a".ljust(257, b"\0") + b"ustar"), "is a tar archive"),
}
BROKEN = {
    "gzip cut off": gzip.compress(BOTH, mtime=0)[:-9],
    "xz cut off": lzma.compress(BOTH)[:-9],
    "bzip2 cut off": bz2.compress(BOTH)[:-9],
    "gzip, a wrong checksum": gzip.compress(BOTH, mtime=0)[:-8] + b"\0\0\0\0" + gzip.compress(BOTH, mtime=0)[-4:],
    "gzip, a broken block": gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40,
    "gzip and something else": gzip.compress(BOTH, mtime=0) + b"something else",
    "xz and something else": lzma.compress(BOTH) + b"something else",
    "bzip2 and something else": bz2.compress(BOTH) + b"something else",
    "gzip and half of another": gzip.compress(ONE, mtime=0) + gzip.compress(TWO, mtime=0)[:-9],
}
WHOLE = {
    "plain": BOTH,
    "no line feed at the end": BOTH.rstrip(),
    "byte order mark": b"\xef\xbb\xbf" + BOTH,
    "byte order mark in the middle": b"\xef\xbb\xbf" + ONE + b"\xef\xbb\xbf" + TWO,
    "Windows lines": BOTH.replace(b"\n", b"\r\n"),
    "old Mac lines": BOTH.replace(b"\n", b"\r"),
    "lines of two systems": ONE.replace(b"\n", b"\r") + TWO,
    "gzip members": gzip.compress(ONE, mtime=0) + gzip.compress(TWO, mtime=0),
    "gzip, padded": gzip.compress(ONE, mtime=0) + b"\0" * 512 + gzip.compress(TWO, mtime=0) + b"\0" * 512,
    "xz streams": lzma.compress(ONE) + lzma.compress(TWO),
    "xz streams, padded": lzma.compress(ONE) + b"\0" * 4 + lzma.compress(TWO),
    "bzip2 streams": bz2.compress(ONE) + bz2.compress(TWO),
    "a byte order mark in gzip": gzip.compress(b"\xef\xbb\xbf" + BOTH, mtime=0),
}


def load(path: Path | str, home: Path, kind: str = "ndjson") -> importing.Report:
    """Import a file in batches of 20."""
    read = fynd.read if kind == "fynd" else ndjson.read
    with open_source(str(path), kind) as source:
        return importing.run(read(source.stream), actor="tests", batch_rows=20, rejected_path=home / "rejected.ndjson")


@pytest.mark.parametrize("name", WHOLE)
def test_an_input_is_read_to_its_end(catalogue_home: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "movies").write_bytes(WHOLE[name])

    report = load(tmp_path / "movies", catalogue_home)

    assert (report.read, report.added, report.rejected) == (2, 2, 0)


@pytest.mark.parametrize("name", NAMED)
def test_another_format_is_refused_by_its_name(catalogue_home: Path, tmp_path: Path, name: str) -> None:
    content, told = NAMED[name]
    (tmp_path / "movies").write_bytes(content)

    with pytest.raises(OperatorError) as caught:
        load(tmp_path / "movies", catalogue_home)

    assert told in caught.value.detail
    assert caught.value.detail.endswith("\nNothing was imported.")
    assert Movie.objects.count() == 0


def test_the_remedy_can_be_typed_as_it_stands(catalogue_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "my movies.json"
    path.write_bytes(b'[{"title": "One"}]')

    with pytest.raises(OperatorError) as caught:
        load(path, catalogue_home)

    assert f"jq -c '.[]' '{path}' | matinee import ndjson -" in caught.value.detail


@pytest.mark.parametrize("kind", ["ndjson", "fynd"])
@pytest.mark.parametrize("name", BROKEN)
def test_damaged_compression_is_refused(catalogue_home: Path, tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "movies").write_bytes(BROKEN[name])

    with pytest.raises(OperatorError, match=r"is damaged or cut off|has other data after its"):
        load(tmp_path / "movies", catalogue_home, kind)

    assert Movie.objects.count() == 0


def test_an_input_that_breaks_off_says_how_far_it_was_imported(catalogue_home: Path, tmp_path: Path) -> None:
    whole = b"".join(sample_lines(300))
    path = tmp_path / "cut.ndjson.gz"
    path.write_bytes(gzip.compress(whole, mtime=0)[:-9])

    with pytest.raises(OperatorError) as caught:
        load(path, catalogue_home)

    assert caught.value.detail.startswith(f"{path} is damaged or cut off")
    count = Movie.objects.count()
    assert caught.value.detail.endswith(
        f"Imported before that: {count} read, {count} added, 0 changed, 0 unchanged, 0 rejected."
    )
    assert 0 < count <= 300


@pytest.mark.parametrize("content", [b"", b"\n\n", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_an_input_without_a_record_is_an_export_of_an_empty_catalogue(
    catalogue_home: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "movies").write_bytes(content)

    assert load(tmp_path / "movies", catalogue_home) == importing.Report()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\n" + BOTH,
        b"null\n" + BOTH,
        b'["a"]\n' + BOTH,
        b'{"movies":[{"title":"Three"}]}\n' + BOTH,
        b'{"title":"A","title":"B"}\n' + BOTH,
        b"# a comment\n" + BOTH,
        ONE + b'{"title":"x\0y"}\n' + TWO,
        BOTH + b'{"title"',
        '{"title":"Amélie"}\n'.encode() + b'{"title":"Am\xe9lie"}\n' + ONE,
    ],
)
def test_a_damaged_line_of_good_ndjson_is_rejected_alone(catalogue_home: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "movies").write_bytes(content)

    report = load(tmp_path / "movies", catalogue_home)

    assert (report.added, report.rejected) == (2, 1)


def test_a_pipe_that_cannot_seek_is_read(catalogue_home: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(ONE, mtime=0) + gzip.compress(TWO, mtime=0)))
    writer.start()

    report = load(pipe, catalogue_home)

    writer.join()
    assert report.added == 2


def test_standard_input_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(OperatorError, match="Standard input is closed"), open_source("-"):
        pass


def test_standard_input_that_was_closed_and_opened_for_writing_only_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", os.fdopen(os.open(os.devnull, os.O_WRONLY)))

    with pytest.raises(OperatorError, match="Standard input is closed; pipe the movies into the command"), open_source("-"):
        pass


def test_an_xz_file_that_needs_too_much_memory_is_told_with_the_command_that_decompresses_it(tmp_path: Path) -> None:
    packed, path = bytearray(lzma.compress(BOTH)), tmp_path / "movies.xz"
    packed[16] = 40  # the dictionary in the header of the first block: 4 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    path.write_bytes(packed)

    with pytest.raises(OperatorError) as caught, open_source(str(path)):
        pass

    assert caught.value.detail == (
        f"{path} needs more than 256 MiB of memory to be decompressed. "
        f"Decompress it by itself: xz -dc {path} | matinee import ndjson -\nNothing was imported."
    )


@pytest.mark.parametrize("name", [".", "nowhere", "file/below"])
def test_a_path_that_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(OperatorError, match=r"cannot be read: (Is a directory|No such file|Not a directory)"),
        open_source(str(tmp_path / name)),
    ):
        pass


def test_memory_is_bounded_however_well_an_input_is_compressed(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    path = tmp_path / "bomb.ndjson.gz"
    path.write_bytes(b"".join(packer.compress(b" " * 2**20) for _ in range(64)) + packer.flush() + gzip.compress(BOTH, mtime=0))

    tracemalloc.start()
    with open_source(str(path)) as source:
        records = list(ndjson.read(source.stream))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [type(record).__name__ for record in records] == ["Rejected", "Record"]  # the blanks and the first film are one line
    assert peak_bytes < 5 * ndjson.MAX_LINE_BYTES


def test_a_byte_order_mark_and_zeros_do_no_harm_to_fynd() -> None:
    text = b"\xef\xbb\xbf" + json.dumps([{"name": "Alien", "director": "Ridley Scott"}]).encode()

    assert [type(record).__name__ for record in fynd.read(io.BytesIO(text))] == ["Record"]


def test_lines_of_objects_are_told_to_be_no_fynd() -> None:
    with pytest.raises(OperatorError, match="matinee import ndjson"):
        list(fynd.read(io.BytesIO(BOTH)))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "It is empty."), (b"name,year\nAlien,1979\n", "It is CSV."), (b"<html>", "It is HTML"), (b"<?xml?>", "It is XML.")],
)
def test_what_is_no_array_of_fynd_is_named_with_what_is_one(content: bytes, told: str) -> None:
    with pytest.raises(OperatorError) as caught:
        list(fynd.read(io.BytesIO(content)))

    assert caught.value.detail.startswith(f"This is not a JSON array of fynd records: {told}")
    assert "Give an array of objects such as [" in caught.value.detail


def test_the_command_ends_with_2_and_one_sentence(catalogue_home: Path, tmp_path: Path) -> None:
    (tmp_path / "movies").write_bytes(BOTH.decode().encode("utf-16"))

    done = matinee(catalogue_home, "import", "ndjson", str(tmp_path / "movies"))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"matinee: {tmp_path / 'movies'} is text in UTF-16.")
    assert "Traceback" not in done.stderr

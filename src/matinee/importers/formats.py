"""Tell by its first bytes what an input is, when it is not what was asked for, and how to turn it into that.

Called by source.py (anything that is no text in UTF-8) and ndjson.py (text that is no NDJSON). Pure. Invariant: it refuses only
what it can name; a damaged line of good NDJSON is left to the reader, which rejects that line alone.
"""

from __future__ import annotations

import codecs
import json
import re

_ICONV = "Convert it first: iconv -f {} -t UTF-8 FILE | matinee import ndjson -"
_UNPACK = "Unpack it first, and import the file in it."
_CONVERT = "Convert it to NDJSON first: one JSON object a line."

# How a format begins, its name, and what to do.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe\x00\x00", "text in UTF-32", _ICONV.format("UTF-32")),
    (b"\x00\x00\xfe\xff", "text in UTF-32", _ICONV.format("UTF-32")),
    (b"\xff\xfe", "text in UTF-16", _ICONV.format("UTF-16")),
    (b"\xfe\xff", "text in UTF-16", _ICONV.format("UTF-16")),
    (b"+/v", "text in UTF-7", _ICONV.format("UTF-7")),
    (b"\x1f\x8b", "gzip within another compression", _UNPACK),
    (b"\xfd7zXZ\x00", "xz within another compression", _UNPACK),
    (b"BZh", "bzip2 within another compression", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd", "Decompress it: zstd -dc FILE | matinee import ndjson -"),
    (b"\x04\x22\x4d\x18", "lz4", "Decompress it: lz4 -dc FILE | matinee import ndjson -"),
    (b"\x5d\x00\x00", "LZMA", "Decompress it: xz --format=lzma -dc FILE | matinee import ndjson -"),
    (b"LZIP", "lzip", "Decompress it: lzip -dc FILE | matinee import ndjson -"),
    (b"\x1f\x9d", "compress (.Z)", "Decompress it: gzip -dc FILE | matinee import ndjson -"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy", "Decompress it first."),
    (b"PK\x03\x04", "a zip archive (or a spreadsheet)", "Unpack it: unzip -p FILE | matinee import ndjson -"),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it: 7z x -so FILE | matinee import ndjson -"),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"SQLite format 3\x00", "a SQLite database", "A backup of Matinee is put back with: matinee restore FILE"),
    (b"PAR1", "Parquet", _CONVERT),
    (b"PARE", "encrypted Parquet", _CONVERT),
    (b"ARROW1", "Arrow", _CONVERT),
    (b"Obj\x01", "Avro", _CONVERT),
    (b"ORC", "ORC", _CONVERT),
    (b"\x89HDF", "HDF5", _CONVERT),
    (b"\x80\x04\x95", "a Python pickle", _CONVERT),
    (b"%PDF", "PDF", "Movies cannot be read from it; get the data as NDJSON."),
    (b"\x89PNG", "an image", "Movies cannot be read from it; get the data as NDJSON."),
    (b"\xff\xd8\xff", "an image", "Movies cannot be read from it; get the data as NDJSON."),
    (b"\xd0\xcf\x11\xe0", "an old Office document", _CONVERT),
    (b"{\\rtf", "a text document (RTF)", _CONVERT),
    (b"PGDMP", "a dump of PostgreSQL", "Restore it with pg_restore, then export from that catalogue."),
    (b"Salted__", "encrypted by OpenSSL", "Decrypt it first."),
    (b"age-encryption.org", "encrypted by age", "Decrypt it: age -d FILE | matinee import ndjson -"),
    (b"-----BEGIN PGP", "encrypted or signed by PGP", "Decrypt it: gpg -d FILE | matinee import ndjson -"),
    (b"-----BEGIN AGE", "encrypted by age", "Decrypt it: age -d FILE | matinee import ndjson -"),
    (b"LUKS\xba\xbe", "an encrypted disk", "Decrypt it first."),
    (b"\x7fELF", "a program", "Give a file of movies."),
)
_TAR_AT = 257  # where a tar archive says what it is
_BLANKS = b" \t\r\n"
_ARRAY = "Write each element on a line: jq -c '.[]' FILE | matinee import ndjson -"
_FYND = "An array in the fynd format is imported with: matinee import fynd FILE"
_ONE_LINE = "Write each object on one line: jq -c . FILE | matinee import ndjson -"
_TABLE = "Convert it to NDJSON first, for example: mlr --i{} --ojsonl cat FILE | matinee import ndjson -"


def binary(head: bytes) -> str | None:
    """Return what an input is that is no UTF-8 text, and the remedy; None when it may be text."""
    for beginning, name, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return f"is {name}. {remedy}"
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "is a tar archive. Unpack it: tar -xOf FILE | matinee import ndjson -"
    if head and not head.strip(b"\x00"):
        return "begins with bytes of zero: the file was never written out, or is damaged. Get it again."
    if b"\x00" in head[:4]:
        return _wide(head[:4])
    return None


def _wide(first: bytes) -> str:
    """Name the encoding of text without a byte order mark, by where the zeros are in its first characters."""
    zeros = tuple(byte == 0 for byte in first)
    names = {
        (False, True, False, True): "UTF-16LE",
        (True, False, True, False): "UTF-16BE",
        (False, True, True, True): "UTF-32LE",
        (True, True, True, False): "UTF-32BE",
        (False, True): "UTF-16LE",
        (True, False): "UTF-16BE",
    }
    if name := names.get(zeros):
        return f"is text in {name}. {_ICONV.format(name)}"
    return "is binary data of an unknown format. Give a file of NDJSON, plain or as .gz, .xz or .bz2."


def other_than_ndjson(head: bytes) -> str | None:
    """Return what the text is that begins like this, and the remedy; None when it is NDJSON, perhaps with damaged lines."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    if text.startswith(b"["):
        return f"is a JSON array, not NDJSON. {_ARRAY}\n{_FYND}" if re.match(rb"\[\s*(\{|\]|$)", text) else None
    if text.startswith(b"\x1e"):
        return "is a sequence of JSON texts (RFC 7464). Remove its separators: tr -d '\\036' < FILE | matinee import ndjson -"
    if text.startswith(b"<"):
        what = "HTML (an error page of a download?)" if re.match(rb"<(!doctype html|html)", text, re.IGNORECASE) else "XML"
        return f"is {what}, not NDJSON. {_CONVERT}"
    lines = [line for line in re.split(rb"[\r\n]+", text) if line.strip()]
    if not lines:
        return None
    if any(line.lstrip().startswith(b"{") for line in lines):
        return _spread_object(lines) or _legacy_text(lines)
    return _table(lines)


def _spread_object(lines: list[bytes]) -> str | None:
    """Name an object that is written over several lines; a line of NDJSON neither ends nor begins in the middle of one."""
    first = lines[0].strip()
    is_open = first == b"{" or (first.startswith(b"{") and first.endswith((b",", b"{", b"[")))
    follows = len(lines) > 1 and lines[1].lstrip()[:1] in (b'"', b"}", b"]")
    return f"is JSON over several lines, not NDJSON. {_ONE_LINE}" if is_open and follows else None


def _legacy_text(lines: list[bytes]) -> str | None:
    """Name text in an 8-bit encoding: a line that is no UTF-8, and whole JSON when it is read as Latin-1.

    Where another line is UTF-8 beyond ASCII, that line is only damaged: a conversion would garble the good ones.
    """
    whole = lines[:-1] or lines  # the last one may be cut off
    if any(not line.isascii() and _is_utf8(line) for line in whole):
        return None
    if any(not _is_utf8(line) and _is_json(line.decode("latin-1")) for line in whole):
        return f"is text in Latin-1 or another 8-bit encoding, not in UTF-8. Find out which. {_ICONV.format('ENCODING')}"
    return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _table(lines: list[bytes]) -> str | None:
    for separator, name in ((b"\t", "tsv"), (b",", "csv"), (b";", "csv --ifs ';'")):
        counts = {line.count(separator) for line in lines[:2]}
        if min(counts) >= 1 and (len(lines) > 1 or max(counts) > 1):
            return f"is {name[:3].upper()}, not NDJSON. {_TABLE.format(name)}"
    if len(lines) > 1 and all(re.match(rb"[\w.\"-]+\s*[:=]|---|- |#", line.strip()) for line in lines[:3]):
        return f"is YAML or another text, not NDJSON. {_CONVERT}"
    return None

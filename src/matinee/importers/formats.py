"""Tell by its first bytes what an input is, when it is not what was asked for, and how to turn it into that.

Called by source.py (anything that is no text in UTF-8), ndjson.py (text that is no NDJSON) and fynd.py. Pure. Invariant: an
input with one readable line is never refused for its other lines; the reader rejects those alone.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
import zlib

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
    (b"+AHs", "text in UTF-7", _ICONV.format("UTF-7")),
    (b"\xc0\x7f", "text in EBCDIC", _ICONV.format("CP037")),
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


_INFLATE = (
    "Decompress it: python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read(), {}))' "
    "< FILE | matinee import ndjson -"
)
_FROM_PYTHON = (
    "Convert it: python3 -c 'import ast, json, sys; [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]' "
    "< FILE | matinee import ndjson -"
)
_DECODE = "Decode it: base64 -d FILE | matinee import ndjson -"
_LINE = 'A line must be one JSON object, such as {"title": "Alien", "year": 1979}.'
# Lists of movies stand under these names in the answers of other services.
_WRAPPERS = rb"movies|films|results|data|items|records|rows|entries|documents|docs|titles|Search"
_WRAPPER = re.compile(rb'"(' + _WRAPPERS + rb')"\s*:\s*\[\s*(?:\{|\]|$)')
_SQL = re.compile(rb"(SET|CREATE|INSERT|BEGIN|PRAGMA|DROP|COPY|ALTER|SELECT|USE|LOCK)\b", re.IGNORECASE)


def binary(head: bytes) -> str | None:
    """Return what an input is that is no UTF-8 text, and the remedy; None when it may be text."""
    for beginning, name, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return f"is {name}. {remedy}"
    if fault := _behind_other_bytes(head) or _deflated(head):
        return fault
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "is a tar archive. Unpack it: tar -xOf FILE | matinee import ndjson -"
    if head and not head.strip(b"\x00"):
        return "begins with bytes of zero: the file was never written out, or is damaged. Get it again."
    if b"\x00" in head[:4]:
        return _wide(head[:4])
    return None


def _behind_other_bytes(head: bytes) -> str | None:
    """Name a format that begins after a UTF-8 byte order mark or after blanks."""
    rest = head.removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    count = len(head) - len(rest)
    for beginning, name, _ in _BEGINNINGS:
        if count and rest.startswith(beginning):
            what = f"{name.removesuffix(' within another compression')} after other bytes ({count})"
            return f"is {what}. Remove them first: tail -c +{count + 1} FILE > OTHER, and import OTHER."
    return None


def _deflated(head: bytes) -> str | None:
    for wbits, name in ((15, "zlib"), (-15, "raw deflate")):
        if _inflated(head, wbits).lstrip(_BLANKS)[:1] in (b"{", b"["):
            return f"is compressed as {name}. {_INFLATE.format(wbits)}"
    return None


def _inflated(head: bytes, wbits: int) -> bytes:
    try:
        return zlib.decompressobj(wbits).decompress(head, 64)
    except zlib.error:
        return b""


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


def other_than_ndjson(head: bytes, *, is_whole: bool) -> str | None:
    """Return what the text is that begins like this, and the remedy; None when it is NDJSON, perhaps with damaged lines.

    `is_whole` says that the input has nothing after `head`. Else the last line may be cut off, and is not judged.
    """
    text = head.removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    lines = [line for line in re.split(rb"[\r\n]+", text) if line.strip()]
    if not lines:
        return None
    complete = lines if is_whole else lines[:-1]
    if fault := _over_lines(text, lines):
        return fault
    if any(map(_is_movie_object, complete)):
        return _legacy_text(lines)
    unreadable = f"is not NDJSON: none of its first {len(complete)} lines is a JSON object. {_LINE}"
    if text.startswith(b"[") and not complete:
        return None  # one line that is longer than the head: good lines may follow it
    return _named(text, lines) or (unreadable if is_whole or len(complete) > 1 else None)


def _over_lines(text: bytes, lines: list[bytes]) -> str | None:
    """Name JSON of which one value is written over several lines; a line in it may be an object itself."""
    if re.match(rb"\[\s*(\{|\]|$)", text):
        return f"is a JSON array, not NDJSON. {_ARRAY}\n{_FYND}"
    spread = _spread_object(lines)
    return spread and (_wrapper(text) or spread)


def _is_movie_object(line: bytes) -> bool:
    """Return whether a line is a JSON object, other than one around a list of movies."""
    try:
        return isinstance(json.loads(line.removeprefix(codecs.BOM_UTF8)), dict) and _wrapper(line) is None
    except (ValueError, RecursionError):
        return False


def _named(text: bytes, lines: list[bytes]) -> str | None:
    """Name a text of which no line is a JSON object."""
    if text.startswith(b"\x1e"):
        return "is a sequence of JSON texts (RFC 7464). Remove its separators: tr -d '\\036' < FILE | matinee import ndjson -"
    if text.startswith(b"<"):
        what = "HTML (an error page of a download?)" if re.match(rb"<(!doctype html|html)", text, re.IGNORECASE) else "XML"
        return f"is {what}, not NDJSON. {_CONVERT}"
    if text.startswith(b"["):
        return _bracketed(text)
    if any(line.lstrip().startswith(b"{") for line in lines):
        return _wrapper(text) or _joined_objects(lines) or _other_objects(lines) or _legacy_text(lines)
    if not all(map(_is_utf8, lines[:-1] or lines)):
        return f"is not text in UTF-8, but binary data or text in another encoding. {_LINE}"
    return _encoded(lines) or _sql(lines) or _table(lines) or _column(lines)


def _bracketed(text: bytes) -> str:
    if re.match(rb"\[\[?[A-Za-z][\w.-]*\]\]?[ \t]*[\r\n]", text):
        return f"is TOML or an INI file, not NDJSON. {_CONVERT}"
    return f"is a JSON array of other values than objects, not NDJSON. {_LINE}"


def _wrapper(text: bytes) -> str | None:
    """Name an object around a list of movies, such as {"results": [...]}."""
    found = _WRAPPER.search(text)
    if found is None or b'"title"' in text[: found.start()]:
        return None
    name = found.group(1).decode()
    return (
        f'is one JSON object around a list of movies ("{name}"), not NDJSON. '
        f"Write each element on a line: jq -c '.{name}[]' FILE | matinee import ndjson -"
    )


def _joined_objects(lines: list[bytes]) -> str | None:
    """Name objects without a line end between them, or with commas after them."""
    try:
        line = lines[0].decode().strip()
        _, end = json.JSONDecoder().raw_decode(line)
    except (ValueError, RecursionError):
        return None
    rest = line[end:].strip()
    if rest == ",":
        return "has a comma after each object. Remove them: sed 's/,[[:space:]]*$//' FILE | matinee import ndjson -"
    return f"has several JSON objects on one line. {_ONE_LINE}" if rest.startswith("{") else None


def _other_objects(lines: list[bytes]) -> str | None:
    """Name objects that are written as in Python or JavaScript."""
    first = lines[0].lstrip()
    if re.match(rb"\{\s*'", first):
        return f"has objects as Python prints them, with single quotes, not JSON. {_FROM_PYTHON}"
    if re.match(rb"\{\s*[A-Za-z_$][\w$]*\s*:", first):
        return f"is JSON5 or JavaScript, whose names have no quotes, not JSON. {_CONVERT}"
    return None


def _encoded(lines: list[bytes]) -> str | None:
    if not re.fullmatch(rb"[A-Za-z0-9+/]{12,}={0,2}", lines[0].strip()):
        return None
    try:
        decoded = base64.b64decode(lines[0].strip()[: len(lines[0].strip()) // 4 * 4])
    except binascii.Error:
        return None
    is_ours = decoded.lstrip(_BLANKS).startswith((b"{", b"[", b"\x1f\x8b", b"\xfd7zXZ", b"BZh", codecs.BOM_UTF8))
    return f"is encoded in base64, not NDJSON. {_DECODE}" if is_ours else None


def _sql(lines: list[bytes]) -> str | None:
    """Name a dump in SQL: statements, perhaps after comments."""
    stated = [line.lstrip() for line in lines if not line.lstrip().startswith((b"--", b"/*", b"\\"))]
    is_sql = stated and _SQL.match(stated[0]) and any(line.rstrip().endswith((b";", b"(")) for line in stated)
    return f"is SQL, not NDJSON. Load it into a database, and export the movies from there. {_CONVERT}" if is_sql else None


def _column(lines: list[bytes]) -> str | None:
    """Name a table of one column, whose first line is its name."""
    is_table = len(lines) > 1 and re.fullmatch(rb'"?[A-Za-z_]\w*"?', lines[0].strip())
    return f"is CSV of one column, or another text, not NDJSON. {_TABLE.format('csv')}" if is_table else None


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

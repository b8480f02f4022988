"""Render one event as one line of at most 4 kB: as JSON for machines, or as text for people. Pure; called by the pipeline.

Invariants: a line has one newline, at its end; no field can forge another line or steer a terminal; rendering never raises
for any value. 4 kB is what a pipe takes whole (PIPE_BUF), so lines of several processes never mix.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

MAX_LINE_BYTES = 4096
_FIELD_CHARS = (2_000, 600, 150, 40)  # tried in this order until the line fits
_STACK_SHARE = 1.5  # the stack may be longer than any other field
_STACK_HEAD = 0.25  # of a cut stack; the rest is its end, where the error is
_FRAMES = 12  # of each exception of a chain, the innermost ones
_MAX_FIELDS = 40
_LARGEST_INT = 2**63
_STACKS = ("exception", "stack")
# Characters that end a line for some reader, or that a terminal obeys: DEL, C1, line and paragraph separators, and the marks
# that reorder text. JSON itself escapes those below U+0020.
_HARMFUL = [0x7F, *range(0x80, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _HARMFUL}
_TEXT_ESCAPES = _JSON_ESCAPES | {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)} | {10: "\\n", 13: "\\r", 9: "\\t"}
_COLORS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}


def utc(at: datetime) -> str:
    """Return a moment in UTC as the log writes it."""
    return at.isoformat().replace("+00:00", "Z")


def shortened(text: str, most: int) -> str:
    """Return a text of at most about `most` characters; a cut one says how long it was."""
    return text if len(text) <= most else f"{text[:most]}...({len(text)} characters)"


def stack_of(error: BaseException) -> str:
    """Return the innermost frames of an exception and of those that caused it, and its message."""
    try:
        told = traceback.TracebackException.from_exception(error, limit=-_FRAMES, compact=True)
        return "".join(told.format()).rstrip()
    except Exception:  # noqa: BLE001  an exception whose own parts raise is logged by its name
        return type(error).__name__


def as_json(event: Mapping[str, Any]) -> bytes:
    """Return an event as a line of JSON."""
    for most in _FIELD_CHARS:
        line = escaped(msgspec.json.encode(_fields(event, most)))
        if len(line) < MAX_LINE_BYTES:
            return line + b"\n"
    kept = {name: event[name] for name in ("timestamp", "level", "logger", "event") if name in event}
    return escaped(msgspec.json.encode(_fields(kept, _FIELD_CHARS[-1]) | {"cut": True})) + b"\n"


def as_text(event: Mapping[str, Any], *, colors: bool = False) -> bytes:
    """Return an event as a line for people; a stack follows, each of its lines indented."""
    for most in _FIELD_CHARS:
        line = _text(_fields(event, most), colors=colors).encode("utf-8", "backslashreplace")
        if len(line) < MAX_LINE_BYTES:
            break
    if len(line) >= MAX_LINE_BYTES:
        line = line[: MAX_LINE_BYTES - 1].decode(errors="ignore").encode()
    return line + b"\n"


def escaped(lines: bytes) -> bytes:
    """Return JSON with every character escaped that ends a line or that a terminal obeys."""
    return lines if lines.isascii() else lines.decode().translate(_JSON_ESCAPES).encode()


def _text(event: dict[str, Any], *, colors: bool) -> str:
    level = str(event.pop("level", "info"))
    stacks = [str(event.pop(name)) for name in _STACKS if name in event]
    shown = f"\x1b[{_COLORS.get(level, '0')}m{level:<8}\x1b[0m" if colors else f"{level:<8}"
    words = [f"{event.pop('timestamp', '')} [{shown}] {_visible(str(event.pop('event', ''))):<30}"]
    words += [f"{_visible(name)}={_quoted(value)}" for name, value in event.items()]
    lines = [" ".join(words).rstrip()]
    lines += [f"  | {_visible(line)}" for stack in stacks for line in stack.split("\n")]
    return "\n".join(lines)


def _visible(text: str) -> str:
    return text.translate(_TEXT_ESCAPES)


def _quoted(value: Any) -> str:
    text = _visible(bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value))
    is_plain = text and not any(sign in text for sign in " \"='")
    return text if is_plain else '"' + text.replace('"', '\\"') + '"'


def _fields(event: Mapping[str, Any], most: int) -> dict[str, Any]:
    names = list(event)[:_MAX_FIELDS]
    fields = {shortened(str(name), 64): _bounded(name, event[name], most) for name in names}
    if len(event) > len(names):
        fields["fields_left_out"] = len(event) - len(names)
    return fields


def _bounded(name: str, value: Any, most: int) -> Any:
    """Return a value that JSON can hold, of a bounded length."""
    try:
        if name in _STACKS:
            return _encodable(_cut_stack(str(value), int(most * _STACK_SHARE)))
        if isinstance(value, str):
            return _encodable(shortened(value, most))
        if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < _LARGEST_INT):
            return value
        if not isinstance(value, dict | list | tuple):
            return _encodable(shortened(str(value), most))
        encoded = msgspec.json.encode(value, enc_hook=str)
        return msgspec.Raw(encoded) if len(encoded) <= most else _encodable(shortened(encoded.decode(), most))
    except Exception:  # noqa: BLE001  a value that cannot be shown must not cost the line
        return f"<{type(value).__name__}>"


def _cut_stack(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = int(most * _STACK_HEAD)
    return f"{text[:head]}\n...({len(text)} characters)...\n{text[head - most :]}"


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()

"""Where every event of a process passes: demoted if a client caused it, limited if it repeats, rendered, handed to the sink.

Called by structlog's loggers, by standard.py and by the access log. Invariant: nothing raises out of it, whatever is logged.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from matinee.logs import lines
from matinee.logs.repeats import Kind, Repeats
from matinee.logs.sink import SINK, Sink
from matinee.logs.targets import Target

Event = Mapping[str, Any]
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
# Exceptions by which a framework says that the client is at fault or has gone: by name, because this room knows no framework.
_CLIENT_ERRORS = frozenset(
    ("SuspiciousOperation", "BadRequest", "MultiPartParserError", "RequestAborted", "UnreadablePostError", "ClientDisconnect")
)
# Fields that direct the limit of repeated lines, and are not written: the text that says whether two lines are alike; the
# client that has a limit of its own; whether the line is always written, which only lines that no stranger can cause may be.
_DIRECTIONS = frozenset(("repeated", "counted_by", "is_always_written"))


class Pipeline:
    """The way of an event from a logger to the sink."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.repeats = sink, Repeats()
        self._least = LEVELS["warning"]
        self._line: Callable[[Event], bytes] = lines.as_json

    def use(self, target: Target, level: str, *, for_people: bool, colors: bool = False) -> None:
        """Write events of a level and above to a target: as text for people, or as JSON."""
        self._least = LEVELS[level]
        self._line = partial(lines.as_text, colors=colors) if for_people else lines.as_json
        self.sink.use(target, self.render, self._summaries)

    def emit(self, level: str, logger: str, event: object, fields: Event, error: BaseException | None = None) -> None:
        """Log an event, with the stack of an exception; never raises."""
        try:
            self._emit(level, logger, event, fields, error)
        except Exception:  # noqa: BLE001  the promise of this module
            self.sink.count_lost()

    def finish(self) -> None:
        """Write what was left out so far, and wait a second at most until all is written."""
        for line in self._summaries(is_end=True):
            self.sink.write(line)
        self.sink.drain()

    def render(self, event: Event) -> bytes:
        """Return an event as a line, with the time and its level."""
        return self._line({"timestamp": lines.utc(datetime.now(UTC)), "level": "info", **event})

    def _emit(self, level: str, logger: str, event: object, fields: Event, error: BaseException | None) -> None:
        if error is not None and is_client_error(error):
            level, fields, error = "warning", {"error": f"{type(error).__name__}: {error}", **fields}, None
        if LEVELS.get(level, logging.ERROR) < self._least:
            return
        text = event if isinstance(event, str) else str(event)
        repeated = str(fields.get("repeated") or text)[:200]
        kind = Kind(logger, level, f"{repeated} {_place_of(error)}".rstrip(), str(fields.get("counted_by") or "")[:200])
        if not fields.get("is_always_written") and not self.repeats.admits(kind):
            return
        shown = {"level": level, "logger": logger, "event": text}
        shown |= {name: value for name, value in fields.items() if name not in _DIRECTIONS}
        if error is not None:
            shown["exception"] = lines.stack_of(error)
        self.sink.write(self.render(shown))

    def _summaries(self, *, is_end: bool = False) -> Iterator[bytes]:
        for summary in self.repeats.summaries(is_end=is_end):
            yield self.render(summary | {"level": "warning"})


def is_client_error(error: BaseException) -> bool:
    """Return whether an exception says that a client is at fault or has gone: such a line has no stack."""
    return not _CLIENT_ERRORS.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _place_of(error: BaseException | None) -> str:
    """Return where an exception was raised, so that two faults under one event are two kinds of lines."""
    if error is None:
        return ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__} {place}".rstrip()


class Logger(structlog.BoundLoggerBase):
    """What `structlog.get_logger(NAME)` returns: the usual methods, into the pipeline. None of them raises."""

    def debug(self, event: object, *args: object, **fields: Any) -> None:
        """Log at level debug."""
        self._log("debug", event, args, fields)

    def info(self, event: object, *args: object, **fields: Any) -> None:
        """Log at level info."""
        self._log("info", event, args, fields)

    def warning(self, event: object, *args: object, **fields: Any) -> None:
        """Log at level warning."""
        self._log("warning", event, args, fields)

    def error(self, event: object, *args: object, **fields: Any) -> None:
        """Log at level error."""
        self._log("error", event, args, fields)

    def critical(self, event: object, *args: object, **fields: Any) -> None:
        """Log at level critical."""
        self._log("critical", event, args, fields)

    def exception(self, event: object, *args: object, **fields: Any) -> None:
        """Log at level error, with the exception that is being handled."""
        self._log("error", event, args, {"exc_info": True, **fields})

    def _log(self, level: str, event: object, args: tuple[object, ...], fields: dict[str, Any]) -> None:
        try:
            error = error_of(fields.pop("exc_info", None))
            PIPELINE.emit(level, self._logger, filled(event, args), {**self._context, **fields}, error)
        except Exception:  # noqa: BLE001  a faulty call of a logger is no fault of the work that logs
            SINK.count_lost()


def filled(event: object, args: Any) -> object:
    """Return a message with its arguments in their places; without them when they do not fit."""
    try:
        return str(event) % args if args else event
    except Exception:  # noqa: BLE001  a faulty call still says where it was
        return event


def error_of(exc_info: Any) -> BaseException | None:
    """Return the exception that a logging call names: itself, a tuple of three, or true for the one that is handled."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) > 1 else None
    return sys.exc_info()[1] if exc_info else None


PIPELINE = Pipeline(SINK)

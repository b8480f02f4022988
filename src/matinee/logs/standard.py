"""Bring what does not know structlog into the same log: Python's `logging`, warnings, and exceptions that nothing handles.

Called by process.py. So Django, psycopg, asyncio and Granian write the same bounded lines as we do, and no plain traceback
can appear among lines of JSON.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

from matinee.logs.pipeline import PIPELINE, error_of, filled

_NAMES = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}
_SERVER_ERROR = 500
# Granian's own loggers, without handlers of their own: their records go to the root logger, so to us.
GRANIAN: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {name: {"handlers": [], "level": "WARNING", "propagate": True} for name in ("_granian", "granian.access")},
}


class ToPipeline(logging.Handler):
    """Hand records of Python's `logging` to the pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; never raises."""
        try:
            level, fields, error = _NAMES.get(record.levelname, "error"), _fields(record), error_of(record.exc_info)
            if "status" in fields and fields["status"] < _SERVER_ERROR:
                # Django logs a bad Host or a page that does not exist with a stack: the client's fault, not ours.
                level, error = "warning", None
            PIPELINE.emit(level, record.name, filled(record.msg, record.args), fields, error)
        except Exception:  # noqa: BLE001  the promise of the pipeline
            PIPELINE.sink.count_lost()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {"repeated": str(record.msg)}
    status = getattr(record, "status_code", None)
    if isinstance(status, int):
        fields["status"] = int(status)
    request = getattr(record, "request", None)
    scope = getattr(request, "scope", None)
    if isinstance(scope, dict):
        # The line of the access log with this id has the client's address.
        fields |= {"path": str(scope.get("path", "")), "request_id": str(scope.get("matinee.request_id", ""))}
    return fields


def install(level: int) -> None:
    """Make the pipeline the one handler of the root logger, from a level on."""
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [ToPipeline()]
    root.setLevel(max(level, logging.WARNING))
    # A pool reports each lost connection; that the copy is ejected and used again is reported once, by us.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def take_over() -> None:
    """Log warnings, and exceptions that end a thread or this process, in place of printing them."""
    logging.captureWarnings(capture=True)
    sys.excepthook = _unhandled
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable


def _unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    PIPELINE.emit("critical", "matinee", "an exception ends this process", {}, error)
    PIPELINE.finish()


def _thread_ended(ended: Any) -> None:
    if ended.exc_type is SystemExit:
        return
    thread = ended.thread.name if ended.thread is not None else ""
    PIPELINE.emit("error", "matinee", "an exception ended a thread", {"thread": thread}, ended.exc_value)


def _unraisable(raised: Any) -> None:
    fields = {"where": raised.err_msg or "", "of": type(raised.object).__name__}
    PIPELINE.emit("error", "matinee", "an exception could not be raised", fields, raised.exc_value)

"""The structured log: one line an event, to the error stream or a file, for people (console) or machines (json).

Called once by each process when it starts.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog

from matinee.config import Config
from matinee.errors import ConfigError

_FLUSH_S = 0.05  # a line of the access log is in the file after so long
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def setup(config: Config) -> None:
    """Configure the log of this process."""
    target = _target(config)
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not _for_people(config, target):
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_as_json)]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=target.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.log_level]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=_LEVELS["warning"], stream=target, format="%(levelname)s %(name)s: %(message)s")
    # A pool tells of each lost connection; that the copy is ejected and taken back is told once, by us.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def require_target(path: str) -> None:
    """Refuse a log file that cannot be written, before a server process ends because of it. Raises: ConfigError."""
    if path:
        _open(path).close()


def _target(config: Config) -> TextIO:
    return _open(config.log_file) if config.log_file else sys.stderr


def _open(path: str) -> TextIO:
    try:
        # Line buffered and appended to: the workers share the file, and a line below 4 kB arrives whole.
        return Path(path).open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"MATINEE_LOG_FILE={path} cannot be written ({error.strerror}); choose another file.") from error


def _as_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _for_people(config: Config, target: TextIO) -> bool:
    return config.log_format == "console" or (config.log_format == "auto" and target.isatty())


class RequestLine(msgspec.Struct):
    """One request in the access log."""

    method: str
    path: str
    status: int
    duration_ms: float
    bytes: int
    request_id: str
    event: str
    level: str
    timestamp: datetime


class AccessLog:
    """The lines of the requests, encoded and written together every few milliseconds.

    A line costs a microsecond; drawn one by one by the log of everything else it would cost more than answering a request from
    memory does.
    """

    def __init__(self, config: Config) -> None:
        self.is_on = config.access_log and config.log_level in ("debug", "info")
        self._target = _target(config)
        self._for_people = _for_people(config, self._target)
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self._noted: list[tuple[str, str, int, float, int, bytes, float]] = []

    def note(self, method: str, path: str, status: int, duration_s: float, sent_bytes: int, request_id: bytes) -> None:
        """Note a request that was answered."""
        if not self.is_on:
            return
        noted = (method, path, status, duration_s, sent_bytes, request_id, time.time())
        if self._for_people:
            _draw(_request_line(*noted))
            return
        if not self._noted:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._noted.append(noted)

    def flush(self) -> None:
        """Write what was noted."""
        noted, self._noted = self._noted, []
        if noted:
            self._target.write(self._encode_lines([_request_line(*values) for values in noted]).decode())
            self._target.flush()


def _draw(line: RequestLine) -> None:
    shown = {name: getattr(line, name) for name in ("method", "path", "status", "duration_ms", "bytes", "request_id")}
    structlog.get_logger("matinee.access").info("request", **shown)


def _request_line(
    method: str, path: str, status: int, duration_s: float, sent_bytes: int, request_id: bytes, at_s: float
) -> RequestLine:
    duration_ms = int(duration_s * 1_000_000) / 1000
    at = datetime.fromtimestamp(at_s, UTC)
    return RequestLine(method, path, status, duration_ms, sent_bytes, request_id.decode(), "request", "info", at)

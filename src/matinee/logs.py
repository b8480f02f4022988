"""The structured log: one line an event, to the error stream or a file, for people (console) or machines (json).

Called once by each process when it starts.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog

from matinee.config import Config
from matinee.errors import ConfigError

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def setup(config: Config) -> None:
    """Configure the log of this process."""
    target = _target(config)
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    for_people = config.log_format == "console" or (config.log_format == "auto" and target.isatty())
    if not for_people:
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

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


def _target(config: Config) -> TextIO:
    if not config.log_file:
        return sys.stderr
    # Line buffered and appended to: the workers share the file, and a line below 4 kB arrives whole.
    return Path(config.log_file).open("a", buffering=1, encoding="utf-8")


def _as_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()

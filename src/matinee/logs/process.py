"""Set up the log of this process from its settings. Called by asgi.py, cli and the tests; each process sets its own up once.

It must never fail for a reason that has to do with writing: `require_target` refuses a bad file, before a server starts.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.util import Finalize

import structlog

from matinee.config import Config
from matinee.errors import ConfigError
from matinee.logs import standard
from matinee.logs.pipeline import LEVELS, PIPELINE, Logger
from matinee.logs.sink import SINK
from matinee.logs.standard import GRANIAN, take_over
from matinee.logs.targets import File, Nowhere, Rotation, Stream, Target

__all__ = ["GRANIAN", "announce", "drain", "for_people", "reopen", "require_target", "setup", "take_over", "target_of"]
_STDERR = 2


def setup(config: Config) -> None:
    """Configure the log of this process; safe to call again."""
    is_terminal = not config.log_file and _is_terminal()
    PIPELINE.use(target_of(config), config.log_level, for_people=for_people(config), colors=is_terminal)
    structlog.configure(
        processors=[], wrapper_class=Logger, logger_factory=_name, context_class=dict, cache_logger_on_first_use=True
    )
    standard.install(LEVELS[config.log_level])
    Finalize(None, PIPELINE.finish, exitpriority=0)  # unlike atexit, a worker that was forked runs it too


def require_target(config: Config) -> None:
    """Refuse a log file that cannot be written, before a server process ends because of it. Raises: ConfigError."""
    if not config.log_file:
        return
    file = File(config.log_file, Rotation())
    try:
        file.open()
    except OSError as error:
        reason = f"MATINEE_LOG_FILE={config.log_file} cannot be written ({error.strerror}); choose another file."
        raise ConfigError(reason) from error
    file.close()


def for_people(config: Config) -> bool:
    """Return whether the log is text for people; else it is JSON."""
    is_terminal = not config.log_file and _is_terminal()
    return config.log_format == "console" or (config.log_format == "auto" and is_terminal)


def target_of(config: Config) -> Target:
    """Return where the settings say that the log goes."""
    if config.log_file:
        return File(config.log_file, Rotation(config.log_max_bytes, config.log_max_age_s, config.log_keep))
    return Stream(_STDERR) if sys.__stderr__ is not None else Nowhere()


def announce(event: str, **fields: object) -> None:
    """Log what a person at a terminal would be told, where the log shares the error stream with it."""
    PIPELINE.emit("info", "matinee.server", event, fields)


def reopen(*_: object) -> None:
    """Open the log file again, after logrotate has renamed it. A signal handler may call it."""
    SINK.reopen()


def drain() -> None:
    """Wait until the log is written, a second at most, before a process ends without its clean-up."""
    SINK.drain()


def _is_terminal() -> bool:
    return sys.__stderr__ is not None and os.isatty(_STDERR)


def _name(*names: str) -> str:
    return names[0] if names else "matinee"

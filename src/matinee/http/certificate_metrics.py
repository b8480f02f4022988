"""The metric of when certificates end. Brought to the metrics every second by runtime; the files are read once a minute.

Called by app.py. It must never raise: a damaged certificate must not end the publishing of the other metrics.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from prometheus_client import Gauge

from matinee.certificate_expiry import Watched, end_of, watched
from matinee.config import Config

_READ_EVERY_S = 60.0
_UNREADABLE = 0.0  # it ended in 1970: an alert on the end then reports the file too

EXPIRES = Gauge(
    "matinee_certificate_expires_seconds",
    "Unix time at which a certificate ends; 0 when its file cannot be read.",
    ("name",),
    multiprocess_mode="livemostrecent",
)


class CertificateMetrics:
    """The ends of the certificates that the settings name."""

    def __init__(self, config: Config, now_s: Callable[[], float] = time.monotonic) -> None:
        self._config, self._now_s = config, now_s
        self._due_s = -math.inf
        self._names: set[str] = set()

    def publish(self) -> None:
        """Read the files again if a minute has passed, and bring their ends to the metric."""
        if self._now_s() < self._due_s:
            return
        self._due_s = self._now_s() + _READ_EVERY_S
        files = watched(self._config)
        for file in files:
            EXPIRES.labels(file.name).set(_end_s(file))
        names = {file.name for file in files}
        for name in self._names - names:
            EXPIRES.labels(name).set(math.nan)  # the file is gone: no comparison with it holds, so no alert either
        self._names = names


def _end_s(file: Watched) -> float:
    try:
        return end_of(file).timestamp()
    except (OSError, ValueError):
        return _UNREADABLE

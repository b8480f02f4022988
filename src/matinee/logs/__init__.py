"""The structured log of a process: one event is one bounded line, and a log that cannot be written changes nothing else.

Set up by asgi.py in each worker and by cli in the server's parent process. It must never raise into the program.
"""

from __future__ import annotations

from matinee.logs.access import AccessLog
from matinee.logs.process import GRANIAN, announce, drain, for_people, reopen, require_target, setup, take_over
from matinee.logs.sink import SINK

__all__ = ["GRANIAN", "SINK", "AccessLog", "announce", "drain", "for_people", "reopen", "require_target", "setup", "take_over"]

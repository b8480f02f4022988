"""Hash passwords in threads of low priority. Named in settings.py as Django's hasher; used by the admin and by `matinee user`.

A hash takes a third of a second of a core, and is computed without the interpreter's lock. On a machine with few cores it would
take the event loop's share of the processor, so the system is told that the loop comes first. Nothing else may run in these
threads: with the lock in its hand, a thread that the system lets wait would stop the whole process.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from django.contrib.auth.hashers import PBKDF2PasswordHasher

_NICENESS = 5  # more, and sign-ins starve beside a flood of other requests
_AT_ONCE = 4  # the slots of sign_in_slots.py


def _yield_to_the_loop() -> None:
    with suppress(OSError, AttributeError):  # only Linux has a niceness for each thread
        native = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, native, os.getpriority(os.PRIO_PROCESS, native) + _NICENESS)


_THREADS = ThreadPoolExecutor(_AT_ONCE, "matinee-password", _yield_to_the_loop)


class LowPriorityHasher(PBKDF2PasswordHasher):
    """Django's hasher, with the same algorithm and format."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Return the encoded hash of a password. Cost: 0.3 s of a core."""
        return _THREADS.submit(super().encode, password, salt, iterations).result()

"""Hash passwords in threads of low priority. Named in settings.py as Django's hasher; used by the admin and by `matinee user`.

A hash takes a third of a second of a core, and is computed without the interpreter's lock. On a machine with few cores it would
take the event loop's share of the processor, so the system is told that the loop comes first. Nothing else may run in these
threads: with the lock in its hand, a thread that the system lets wait would stop the whole process.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from matinee.background import yield_to_the_loop


class LowPriorityHasher(PBKDF2PasswordHasher):
    """Django's hasher, with the same algorithm and format."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Return the encoded hash of a password. Cost: 0.3 s of a core."""
        # A thread for each hash: `matinee up` hashes a password before it forks its workers, and a pool that was used
        # before a fork believes in threads that the worker does not have.
        with ThreadPoolExecutor(1, "matinee-password", yield_to_the_loop) as thread:
            return thread.submit(super().encode, password, salt, iterations).result()

"""The places of a server process: how many requests it works on at once. Called by front.py for each that is no hit.

Work that is begun beyond what a process can do makes all of it late. What finds no place is turned away at once, which costs a
fraction of an answer, and those inside are done in time.
"""

from __future__ import annotations

_ADMIN_SHARE = 4  # a part of the places: a sign-in costs a third of a second of a thread, and strangers may try


class Places:
    """How many requests are under way, and how many may be; the admin's count, and may never take all places."""

    __slots__ = ("_admin_taken", "_most", "_most_admin", "refusal", "taken")

    def __init__(self, most: int) -> None:
        self._most, self._most_admin = most, max(1, most // _ADMIN_SHARE)
        self.taken = self._admin_taken = 0
        self.refusal = (
            f"This server process works on {most} requests already; try again in a second, or raise MATINEE_MAX_IN_FLIGHT."
        )

    def are_taken(self, *, is_admin: bool) -> bool:
        """Return whether there is no place for one more."""
        return self.taken >= self._most or (is_admin and self._admin_taken >= self._most_admin)

    def take(self, *, is_admin: bool) -> None:
        """Count one that begins."""
        self.taken += 1
        self._admin_taken += is_admin

    def free(self, *, is_admin: bool) -> None:
        """Count one that is over."""
        self.taken -= 1
        self._admin_taken -= is_admin

"""The places of a server process: how many requests it works on at once. Called by front.py for each that is no hit.

Work that is begun beyond what a process can do makes all of it late. What finds no place is turned away at once, which costs a
fraction of an answer, and those inside are done in time.
"""

from __future__ import annotations

from collections import Counter

_ADMIN_SHARE = 4  # a part of the places: a sign-in costs a third of a second of a thread, and strangers may try
_VISITOR_SHARE = 2  # a part of the admin's, for requests without a session that is known
# Of one client, so that one stranger leaves others the sign-in page. A browser sends six at once, also with a session that this
# process does not know yet: it has just started, or the sign-in was at another server.
_MOST_OF_A_VISITOR = 8


class Places:
    """How many requests are under way, and how many may be; the admin's count, and may never take all places.

    A visitor is a client of the admin of whom no session is known. Visitors leave a half of the admin's places to its users.
    """

    __slots__ = ("_admin_taken", "_most", "_most_admin", "_most_visitors", "_visitors", "refusal", "taken")

    def __init__(self, most: int) -> None:
        self._most, self._most_admin = most, max(1, most // _ADMIN_SHARE)
        self._most_visitors = max(1, self._most_admin // _VISITOR_SHARE)
        self.taken = self._admin_taken = 0
        self._visitors: Counter[str] = Counter()
        self.refusal = (
            f"This server process works on {most} requests already; try again in a second, or raise MATINEE_MAX_IN_FLIGHT."
        )

    def are_taken(self, *, is_admin: bool, visitor: str | None = None) -> bool:
        """Return whether there is no place for one more."""
        if self.taken >= self._most or (is_admin and self._admin_taken >= self._most_admin):
            return True
        if visitor is None:
            return False
        return self._visitors.total() >= self._most_visitors or self._visitors[visitor] >= _MOST_OF_A_VISITOR

    def take(self, *, is_admin: bool, visitor: str | None = None) -> None:
        """Count one that begins."""
        self.taken += 1
        self._admin_taken += is_admin
        if visitor is not None:
            self._visitors[visitor] += 1

    def free(self, *, is_admin: bool, visitor: str | None = None) -> None:
        """Count one that is over."""
        self.taken -= 1
        self._admin_taken -= is_admin
        if visitor is not None:
            self._visitors[visitor] -= 1
            if not self._visitors[visitor]:
                del self._visitors[visitor]

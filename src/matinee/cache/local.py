"""The local tier: ready answers in this process, judged by the log of changes at every look. Bounded in bytes.

Invariant: nothing is returned as good that the log, as far as it was followed, shows to be changed. Nothing is dropped when a
change is seen: what it touched is no longer believed from that moment on, at the cost of one comparison, however many changes
come at once, and even when the log is another one; to drop a million values would hold up the loop for a second. What is not
believed is replaced when it is asked for again, or leaves as what nobody asks for does. Called by http before any routing, on
the event loop only, so there is no lock.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from matinee.cache.policy import Policy
from matinee.domain.change_log import Belief, ChangeLog

PAGE, EVERYTHING = 0, -1  # subjects that are no movie's id
_TIDIED_EVERY = 128  # insertions; what they leave is walked over in half a millisecond


class Stamped(Protocol):
    """What can be kept: it knows at which position it was read, what it is about, and how many bytes it takes.

    `expires_s` is the moment of time.monotonic() from which a page is not served any more, whatever the log says: infinity,
    but for what the log does not tell of.

    `subject` is a movie's id; PAGE, which any change may touch and which may be served for a moment while it is read anew;
    EVERYTHING, which any change may touch and which is never served after one, such as that there is no such movie.

    `histories` is the log's when the value was read: the positions of another history mean nothing in this one.
    """

    stamp: int
    histories: int
    subject: int
    size_bytes: int
    expires_s: float


Value = TypeVar("Value", bound=Stamped)


class LocalTier(Generic[Value]):
    """Values by key, kept while there is room, the ones that are asked for most."""

    def __init__(self, policy: Policy, log: ChangeLog, page_grace_s: float) -> None:
        self.policy, self._log, self._page_grace_s = policy, log, page_grace_s
        self._get = policy.get
        self.hits = self.misses = self.invalidations = self.expiries = self.doubts = self.insertions = 0

    def get(self, key: Hashable, now_s: float) -> tuple[Value | None, Belief]:
        """Return a value and whether it is believed; one that is not is for those who have nothing better."""
        found = self._get(key)
        if found is None or found.histories != self._log.histories:
            return None, "no"
        return found, self._belief(found, now_s)

    def peek(self, key: Hashable) -> Value | None:
        """Return a value, good or not, without counting it as asked for; None when it is of another history."""
        found: Value | None = self.policy.peek(key)
        return None if found is None or found.histories != self._log.histories else found

    def _belief(self, found: Value, now_s: float) -> Belief:
        log, subject = self._log, found.subject
        if subject > 0:
            return "fresh" if log.believes(subject, found.stamp) else "no"
        if now_s >= found.expires_s:
            return "no"
        belief = log.believes_page(found.stamp, now_s, self._page_grace_s)
        return "no" if belief == "doubtful" and subject == EVERYTHING else belief

    def missed(self, before: Value | None, now_s: float) -> None:
        """Count a request that was not answered from here; `before` is what is held and was not good enough."""
        self.misses += 1
        if before is not None and now_s >= before.expires_s:
            self.expiries += 1
        elif before is not None:
            self.invalidations += 1

    def keep(self, key: Hashable, value: Value, now_s: float, histories: int) -> bool:
        """Keep a value unless it is known to be old already; return whether it was kept.

        `histories` is the log's as it was before the value was read: one of another history is not to be judged by this one.
        """
        if histories != self._log.histories or self._belief(value, now_s) != "fresh":
            return False
        value.histories = histories
        self.insertions += 1
        if self.insertions % _TIDIED_EVERY == 0:
            # The garbage collector comes when much more was made than freed. A full tier frees as much as it makes: it would
            # come late, and walk over the headers of ten thousand values at once.
            gc.collect(0)
        return self.policy.put(key, value, value.size_bytes)

    def resize(self, key: Hashable, value: Value) -> None:
        """Note that a value that is kept has grown, such as by a form of it that was made for later."""
        self.policy.put(key, value, value.size_bytes)

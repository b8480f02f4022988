"""The local tier: ready answers in this process, judged by the log of changes at every look. Bounded in bytes.

The bound counts values with their headers and compressed forms, keys, and the loads that are in flight. Answers that say that
nothing exists at an address ("absences") have a share of their own: anybody can request any number of ids that do not exist,
and such requests must not evict answers that are useful.

Invariant: nothing is returned as good that the log, as far as it was followed, shows to be changed. Nothing is dropped when a
change is seen: what it touched is no longer believed from that moment on, at the cost of one comparison, however many changes
come at once, and even when the log is another one; to drop a million values would hold up the loop for a second. What is not
believed is replaced when it is asked for again, or leaves as what nobody asks for does. Called by http before any routing, on
the event loop only, so there is no lock.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from matinee.cache.lru import Lru
from matinee.cache.policy import Policy
from matinee.domain.change_log import Belief, ChangeLog

PAGE, EVERYTHING = 0, -1  # subjects that are no movie's id
ABSENT_SHARE = 1 / 16  # of the bound, for absences
LOAD_BYTES = 12 * 1024  # of one load in flight: its task, its coroutines and its statement
_LOADS_SHARE = 0.5  # loads reserve this share of the bound at most
_USUAL_KEY_BYTES = 100  # the policies' measured overhead of an entry includes a key of this size
_TIDIED_EVERY = 128  # insertions; what they leave is walked over in half a millisecond


class Stamped(Protocol):
    """What can be kept: it knows at which position it was read, what it is about, and how many bytes it takes.

    `absence` is not None when the value says that nothing exists at its address.

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

    @property
    def absence(self) -> object | None:
        """Return what is said instead of a value."""


Value = TypeVar("Value", bound=Stamped)


class LocalTier(Generic[Value]):
    """Values by key, kept while there is room, the ones that are asked for most; absences beside them."""

    def __init__(self, policy: Policy, log: ChangeLog, page_grace_s: float) -> None:
        self.policy, self._log, self._page_grace_s = policy, log, page_grace_s
        self._get = policy.get
        self.bound_bytes = policy.bound_bytes
        absent_bytes = int(policy.bound_bytes * ABSENT_SHARE)
        policy.set_bound(policy.bound_bytes - absent_bytes)
        self.absences = Lru(absent_bytes, largest_share=1.0)
        self._most_reserved_bytes, self._reserved_bytes = int(policy.bound_bytes * _LOADS_SHARE), 0
        self.hits = self.misses = self.invalidations = self.expiries = self.doubts = self.insertions = 0

    def __len__(self) -> int:
        return len(self.policy) + len(self.absences)

    @property
    def used_bytes(self) -> int:
        """Return the bytes of all entries and of the loads in flight."""
        return self.policy.used_bytes + self.absences.used_bytes + self._reserved_bytes

    @property
    def evictions(self) -> int:
        """Return how many entries were evicted to make room."""
        return self.policy.evictions + self.absences.evictions

    def get(self, key: Hashable, now_s: float) -> tuple[Value | None, Belief]:
        """Return a value and whether it is believed; one that is not is for those who have nothing better."""
        found, log = self._get(key), self._log
        if found is None or found.histories != log.histories:
            return None, "no"
        if found.subject > 0:
            return found, "fresh" if log.believes(found.subject, found.stamp) else "no"
        return found, self._belief_in_page(found, now_s)

    def peek(self, key: Hashable) -> Value | None:
        """Return a value, good or not, without counting it as asked for; None when it is of another history."""
        found: Value | None = self.policy.peek(key) or self.absences.peek(key)
        return None if found is None or found.histories != self._log.histories else found

    def absent(self, key: Hashable, now_s: float) -> Value | None:
        """Return the absence that is kept of a key, None when there is none or something has changed since."""
        found: Value | None = self.absences.get(key)
        return found if found is not None and found.histories == self._log.histories and self._is_fresh(found, now_s) else None

    def reserve(self, key: Hashable) -> int:
        """Count a load that begins; return the bytes to `release` at its end. What makes room for it is evicted."""
        size_bytes = min(sys.getsizeof(key) + LOAD_BYTES, self._most_reserved_bytes - self._reserved_bytes)
        self._reserved_bytes += size_bytes
        self.policy.set_bound(self.policy.bound_bytes - size_bytes)
        return size_bytes

    def release(self, size_bytes: int) -> None:
        """Count that a load is over."""
        self._reserved_bytes -= size_bytes
        self.policy.bound_bytes += size_bytes

    def _belief_in_page(self, found: Value, now_s: float) -> Belief:
        if now_s >= found.expires_s:
            return "no"
        belief = self._log.believes_page(found.stamp, now_s, self._page_grace_s)
        return "no" if belief == "doubtful" and found.subject == EVERYTHING else belief

    def _is_fresh(self, value: Value, now_s: float) -> bool:
        if value.subject > 0:
            return self._log.believes(value.subject, value.stamp)
        return self._belief_in_page(value, now_s) == "fresh"

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
        if histories != self._log.histories or not self._is_fresh(value, now_s):
            return False
        value.histories = histories
        self.insertions += 1
        if self.insertions % _TIDIED_EVERY == 0:
            # The garbage collector comes when much more was made than freed. A full tier frees as much as it makes: it would
            # come late, and walk over the headers of ten thousand values at once. A first walk leaves out the pairs that
            # headers are, a second one the tuples of such pairs.
            gc.collect(0)
            gc.collect(1)
        return self._put(key, value)

    def resize(self, key: Hashable, value: Value) -> None:
        """Note that a value that is kept has grown, such as by a form of it that was made for later."""
        self._put(key, value)

    def _put(self, key: Hashable, value: Value) -> bool:
        chosen, other = (self.policy, self.absences) if value.absence is None else (self.absences, self.policy)
        other.delete(key)
        return chosen.put(key, value, value.size_bytes + max(0, sys.getsizeof(key) - _USUAL_KEY_BYTES))

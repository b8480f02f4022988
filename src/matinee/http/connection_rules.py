"""Decide which connections to close, from the figures of all of them. Pure: no socket, no clock. Called by connection_guard.py.

Invariant: a client over its limit loses connections that wait, never one with a request under way. Only when the process itself
runs out of connections are requests under way cut, and then those of the clients that hold the most.

Closed are: a request whose head does not arrive in time, an unused connection, an answer that its client does not take, the
connections of a client beyond its limit, and those of all clients beyond the limit of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

Rank = tuple[bool, bool, bool, float]
_LEAST_TAKEN_PER_S = 1024  # bytes of an answer that a client must take, on average over the time that it has
_FRESH_S = 1.0  # a connection this new is not closed for its client's limit: its request may be on the way
_NEAR_RATIO, _AFTER_RATIO = 0.9, 0.8  # of the process's limit: where evictions begin, and where they end


class Peer(NamedTuple):
    """The other end of a connection."""

    address: tuple[str, str]  # as Granian says it in a request's scope: the port is text
    group: str  # what the limit of a client counts
    site: str  # what the limit of the process counts: with IPv6 a /48 network, which one customer may own
    is_trusted: bool


class Figures(NamedTuple):
    """What the kernel knows of one connection at one moment."""

    cookie: int  # the kernel's own number of the socket; never used twice
    peer: Peer
    received_bytes: int
    taken_bytes: int  # acknowledged by the client
    is_held_up: bool  # bytes of an answer wait because the client has no room for them
    has_answered: bool
    since_received_s: float
    since_sent_s: float


class Reason(StrEnum):
    """Why a connection was closed, as the metrics show it."""

    SLOW_HEAD = "slow_head"
    UNUSED = "unused"
    SLOW_READER = "slow_reader"
    CLIENT_LIMIT = "client_limit"
    PROCESS_LIMIT = "process_limit"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class Limits:
    """How long a connection may keep a server waiting, and how many there may be; 0 connections of a client is no limit."""

    head_s: float
    idle_s: float
    answer_s: float
    of_client: int
    of_process: int
    http2: bool = False


@dataclass(slots=True)
class Standing:
    """A connection with what follows from its figures of this moment."""

    figures: Figures
    is_active: bool
    is_waiting: bool  # bytes have come that no request was made of yet
    quiet_s: float

    @property
    def has_request(self) -> bool:
        """Return whether a request or its answer is under way."""
        return self.is_active or self.figures.is_held_up

    @property
    def rank(self) -> Rank:
        """Return the order of closing, first to last: never answered, unused, with a request; each the longest time first."""
        return self.has_request, self.figures.has_answered, self.is_waiting, -self.quiet_s


class _Memory(NamedTuple):
    """What is remembered of connections from one look to the next, by cookie."""

    waiting_since_s: dict[int, float]
    held_up_since: dict[int, tuple[float, int]]  # and the bytes that had been taken then


class ConnectionRules:
    """The limits, applied to one look after another."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._before, self._now = _Memory({}, {}), _Memory({}, {})
        self.over_limit: dict[str, int] = {}  # client group -> connections, of the last look

    def judge(
        self, now_s: float, connections: Iterable[Figures], is_active: Callable[[tuple[str, str]], bool]
    ) -> dict[int, Reason]:
        """Return the connections to close, by cookie. `is_active` says whether a request of an address is under way."""
        self._before, self._now = self._now, _Memory({}, {})
        doomed: dict[int, Reason] = {}
        left: list[Standing] = []
        for each in connections:
            one = _standing(each, is_active=is_active(each.peer.address))
            if self._is_stalled(now_s, each):
                doomed[each.cookie] = Reason.SLOW_READER
            elif reason := self._overdue(now_s, one):
                doomed[each.cookie] = reason
            else:
                left.append(one)
        self._limit_clients(left, doomed)
        self._limit_process([one for one in left if one.figures.cookie not in doomed], doomed)
        return doomed

    def judge_ending(self, connections: Iterable[Figures], is_active: Callable[[tuple[str, str]], bool]) -> dict[int, Reason]:
        """Return the connections without a request or an answer under way, which would only delay the end of the process."""
        standings = [_standing(each, is_active=is_active(each.peer.address)) for each in connections]
        ended = [one for one in standings if not one.has_request and one.quiet_s >= _FRESH_S / 2]
        return {one.figures.cookie: Reason.SHUTDOWN for one in ended}

    def _is_stalled(self, now_s: float, figures: Figures) -> bool:
        if not figures.is_held_up:
            return False
        taken_bytes = figures.taken_bytes
        since_s, before_bytes = self._before.held_up_since.get(figures.cookie, (now_s, taken_bytes))
        passed_s = now_s - since_s
        if passed_s >= self.limits.answer_s:
            if taken_bytes - before_bytes < _LEAST_TAKEN_PER_S * passed_s:
                return True
            since_s, before_bytes = now_s, taken_bytes
        self._now.held_up_since[figures.cookie] = since_s, before_bytes
        return False

    def _overdue(self, now_s: float, one: Standing) -> Reason | None:
        if one.is_active:
            return None
        if one.is_waiting:
            return Reason.SLOW_HEAD if self._is_head_late(now_s, one) else None
        is_new = not one.figures.has_answered and not one.figures.peer.is_trusted
        return Reason.UNUSED if one.quiet_s >= (self.limits.head_s if is_new else self.limits.idle_s) else None

    def _is_head_late(self, now_s: float, one: Standing) -> bool:
        is_answered, limits = one.figures.has_answered, self.limits
        since_s = self._now.waiting_since_s[one.figures.cookie] = self._before.waiting_since_s.get(one.figures.cookie, now_s)
        # A frame of HTTP/2 may need no answer: it is not a request that is late.
        bound_s = limits.idle_s if limits.http2 and is_answered else limits.head_s
        if now_s - since_s >= bound_s:
            return True
        # Two looks, and no proxy's: a spare connection may be old when its first request comes, which may be on its way here.
        is_first = not is_answered and not one.figures.peer.is_trusted
        return is_first and now_s > since_s and one.quiet_s >= bound_s

    def _limit_clients(self, left: list[Standing], doomed: dict[int, Reason]) -> None:
        self.over_limit = {}
        if not self.limits.of_client:
            return
        groups = _grouped(left, lambda peer: peer.group)
        self.over_limit = {group: len(each) for group, each in groups.items() if len(each) > self.limits.of_client}
        for group, count in self.over_limit.items():
            idle = [one for one in groups[group] if not one.has_request and one.quiet_s >= _FRESH_S]
            for one in sorted(idle, key=attrgetter("rank"))[: count - self.limits.of_client]:
                doomed[one.figures.cookie] = Reason.CLIENT_LIMIT

    def _limit_process(self, left: list[Standing], doomed: dict[int, Reason]) -> None:
        if len(left) < self.limits.of_process * _NEAR_RATIO:
            return
        candidates: list[tuple[int, Rank, int]] = []
        for each in _grouped(left, lambda peer: peer.site).values():
            ranked = sorted(each, key=attrgetter("rank"))
            # The client with the most loses one; then the one that has the most now; and so on.
            candidates += [(place - len(ranked), one.rank, one.figures.cookie) for place, one in enumerate(ranked)]
        surplus = len(left) - int(self.limits.of_process * _AFTER_RATIO)
        for _, _, cookie in sorted(candidates)[:surplus]:
            doomed[cookie] = Reason.PROCESS_LIMIT


def _standing(figures: Figures, *, is_active: bool) -> Standing:
    # Equal times: what came last was answered within the same tick of the kernel's clock.
    is_unanswered = figures.since_received_s < figures.since_sent_s or not figures.has_answered
    is_waiting = bool(figures.received_bytes and is_unanswered and not is_active)
    # Bytes that trickle in do not make a connection less quiet.
    quiet_s = figures.since_sent_s if is_waiting else min(figures.since_received_s, figures.since_sent_s)
    return Standing(figures, is_active, is_waiting, quiet_s)


def has_begun(figures: Figures, *, was_active: bool, is_active: bool, received_bytes: int | None) -> bool:
    """Return whether a request has begun on a connection since its figures were read, so that it must not be closed for them.

    On a connection whose request was incomplete then, more bytes are no reason: a trickle would keep it open.
    """
    if was_active or is_active:
        return not was_active
    is_waiting = _standing(figures, is_active=False).is_waiting
    return not is_waiting and received_bytes != figures.received_bytes


def _grouped(standings: Iterable[Standing], name: Callable[[Peer], str]) -> dict[str, list[Standing]]:
    """Return the connections of each client that is not a trusted proxy."""
    groups: dict[str, list[Standing]] = {}
    for one in standings:
        if not one.figures.peer.is_trusted:
            groups.setdefault(name(one.figures.peer), []).append(one)
    return groups

"""Close connections that keep a server process waiting, or that are too many. Started by app.py in each worker of a server.

Granian accepts up to a number of connections and then none, whatever they do. Every second this thread reads the kernel's
figures of all of them, lets connection_rules.py decide, and closes what that says. Requests never wait for it. It must never
take more than a few percent of a core, and must outlive any fault of its own.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

import structlog

from matinee.config import Config
from matinee.http.connection_rules import ConnectionRules, Figures, Limits, Reason, has_begun
from matinee.http.metrics import CLOSED_CONNECTIONS, CONNECTIONS
from matinee.http.tcp_sockets import TcpSockets, is_supported
from matinee.http.under_way import UnderWay

_EVERY_S, _EVERY_BUSY_S, _EVERY_ENDING_S = 1.0, 0.25, 0.1
_COST_RATIO, _COST_BUSY_RATIO = 0.04, 0.1  # of a core that looking may take; busy: above half of the process's limit
_BREATH_S = 0.0005  # in which the event loop gets the interpreter's lock
_END_GRACE_S = 10.0  # a request that is still under way so long after the server has stopped accepting is cut
_LOG_EVERY_S = 60.0
_WHATEVER_HAS_BEGUN = frozenset((Reason.SLOW_READER, Reason.SHUTDOWN))  # closed with a request that has begun since, too
log = structlog.get_logger("matinee.connections")


def limits_of(config: Config) -> Limits:
    """Return the limits that the settings say."""
    return Limits(
        head_s=config.header_timeout_s,
        idle_s=config.idle_timeout_s,
        answer_s=config.body_timeout_s,
        of_client=config.client_connections,
        of_process=config.connection_bound,
        http2=config.http2,
    )


class ConnectionGuard:
    """The thread that looks, and what it has counted."""

    def __init__(self, config: Config, under_way: UnderWay) -> None:
        self._limits, self._under_way = limits_of(config), under_way
        self._rules = ConnectionRules(self._limits)
        self._port, self._trusted = config.port, config.trusted_proxies
        self._count, self._closed = 0, Counter[Reason]()
        self._has_listened, self._ending_since_s, self._log_at_s = False, 0.0, 0.0

    def start(self) -> None:
        """Begin to look, on a thread of its own, until the process ends."""
        if not is_supported():
            log.warning("connections are not watched: this system does not tell enough of them (Linux 4.6 does)")
            return
        threading.Thread(target=self._run, args=(TcpSockets(self._port, self._trusted),), daemon=True).start()

    def publish(self) -> None:
        """Bring the counts to the metrics."""
        closed, self._closed = self._closed, Counter()
        CONNECTIONS.set(self._count)
        for reason, count in closed.items():
            CLOSED_CONNECTIONS.labels(reason.value).inc(count)

    def _run(self, sockets: TcpSockets) -> None:
        pause_s = _EVERY_S
        while True:
            time.sleep(pause_s)
            began_s = time.thread_time()
            try:
                self._look(sockets)
            except Exception:
                log.exception("a look at the connections failed", again_in_s=_EVERY_S)
            pause_s = self._pause_s(time.thread_time() - began_s)

    def _pause_s(self, cost_s: float) -> float:
        if self._ending_since_s:
            return _EVERY_ENDING_S
        if self._count > self._limits.of_process / 2:
            return max(_EVERY_BUSY_S, cost_s / _COST_BUSY_RATIO)
        return max(_EVERY_S, cost_s / _COST_RATIO)

    def _look(self, sockets: TcpSockets) -> None:
        figures = list(sockets.read(pause=lambda: time.sleep(_BREATH_S)))
        now_s, self._count = time.monotonic(), len(figures)
        active = {each.peer.address for each in figures if self._under_way.has(each.peer.address)}
        doomed = self._rules.judge(now_s, figures, active.__contains__)
        self._has_listened = self._has_listened or sockets.is_listening
        if self._has_listened and not sockets.is_listening:
            doomed |= self._at_end(now_s, figures)
        closed: Counter[Reason] = Counter()
        for each in figures:
            reason = doomed.get(each.cookie)
            if reason is not None and self._cut(sockets, each, reason, was_active=each.peer.address in active):
                closed[reason] += 1
        self._closed.update(closed)
        self._tell(now_s, closed)

    def _at_end(self, now_s: float, figures: list[Figures]) -> dict[int, Reason]:
        self._ending_since_s = self._ending_since_s or now_s
        if now_s - self._ending_since_s > _END_GRACE_S:
            return {each.cookie: Reason.SHUTDOWN for each in figures}
        return self._rules.judge_ending(figures, self._under_way.has)

    def _cut(self, sockets: TcpSockets, figures: Figures, reason: Reason, *, was_active: bool) -> bool:
        """Close a connection and return whether it was closed: a request that has begun since the look keeps it open."""
        if reason not in _WHATEVER_HAS_BEGUN:
            is_active, received_bytes = self._under_way.has(figures.peer.address), sockets.received_bytes(figures.cookie)
            if has_begun(figures, was_active=was_active, is_active=is_active, received_bytes=received_bytes):
                return False
        says_why = reason is Reason.SLOW_HEAD and not figures.is_held_up
        return sockets.cut(figures.cookie, says_why=says_why, is_reset=figures.is_held_up)

    def _tell(self, now_s: float, closed: Counter[Reason]) -> None:
        is_over = closed[Reason.CLIENT_LIMIT] or closed[Reason.PROCESS_LIMIT]
        if not is_over or now_s < self._log_at_s:
            return
        self._log_at_s = now_s + _LOG_EVERY_S
        client, connections = max(self._rules.over_limit.items(), key=lambda item: item[1], default=("", 0))
        log.warning(
            "too many connections; the longest unused ones are closed",
            open=self._count,
            most=self._limits.of_process,
            client=client,
            of_client=connections,
            most_of_client=self._limits.of_client,
            closed={str(reason): count for reason, count in closed.items()},
        )

"""The access log: one line for each request, encoded and written together every few milliseconds, within bytes a second.

Called by the front for each request. A line costs a microsecond; through the pipeline it would cost more than answering a
request from memory does. It must never hold more than bounded text of a request.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec

from matinee.config import Config
from matinee.logs import lines
from matinee.logs.pipeline import PIPELINE
from matinee.logs.process import for_people
from matinee.logs.sink import SINK, Sink

_FLUSH_S = 0.05  # a line of the access log is in the file after so long
_PATH_CHARS, _METHOD_CHARS = 500, 20  # a character takes 6 bytes at most, so a line stays below 4 kB
_LINE_BYTES = 240  # of a line beside its path
_WINDOW_S = 1.0
_CLASSES = 10  # of status codes, by their first digit; the last one is for whatever else
# A flood of refusals or faults must not hide the answers that were good, nor the other way round.
_SHARES = {4: 0.25, 5: 0.25}
_GOOD_SHARE = 0.5
_CLIENTS_SHOWN = 3


class RequestLine(msgspec.Struct):
    """One request in the access log."""

    method: str
    path: str
    status: int
    duration_ms: float
    bytes: int
    request_id: str
    client: str
    event: str
    level: str
    timestamp: datetime


class _Room:
    """How many bytes a class of answers may still write in this second."""

    __slots__ = ("left_bytes", "share_bytes")

    def __init__(self, share_bytes: float) -> None:
        self.share_bytes = self.left_bytes = share_bytes

    def refill(self) -> None:
        """Begin a new second; what was taken too much in the one before is paid back."""
        self.left_bytes = min(self.left_bytes, 0.0) + self.share_bytes


class AccessLog:
    """The lines of the requests of one process."""

    def __init__(self, config: Config, sink: Sink = SINK) -> None:
        self.is_on = config.access_log and config.log_level in ("debug", "info")
        self.suppressed = 0  # lines since the process began
        self._sink, self._for_people = sink, for_people(config)
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self._noted: list[tuple[Any, ...]] = []
        each_bytes = config.access_log_bytes_per_s / config.workers or math.inf
        good = _Room(each_bytes * _GOOD_SHARE)
        others = {digit: _Room(each_bytes * share) for digit, share in _SHARES.items()}
        self._rooms = [good, *others.values()]
        self._room_of = [others.get(digit, good) for digit in range(_CLASSES)]
        self._window_ends_s = 0.0
        self._left_out: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    def note(
        self, method: str, path: str, status: int, duration_s: float, sent_bytes: int, request_id: bytes, client: str
    ) -> None:
        """Note a request that was answered."""
        if not self.is_on:
            return
        if len(path) > _PATH_CHARS:
            path = lines.shortened(path, _PATH_CHARS)
        if not self._noted:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._noted.append((method, path, status, duration_s, sent_bytes, request_id, client, time.time()))

    def flush(self) -> None:
        """Write what was noted, as far as there is room for it in this second; never raises."""
        noted, self._noted = self._noted, []
        try:
            self._begin_window()
            self._write(noted)
        except Exception:  # noqa: BLE001  logging never raises into the program
            self._sink.count_lost(len(noted))

    def finish(self) -> None:
        """Write everything, and say how many lines were left out; called when the process ends."""
        self.flush()
        self._report()

    def _write(self, noted: list[tuple[Any, ...]]) -> None:
        shown, expected_bytes, room_of = [], 0, self._room_of
        for values in noted:
            room = room_of[values[2] // 100]
            if room.left_bytes <= 0:
                self._leave_out(values)
                continue
            line_bytes = _LINE_BYTES + len(values[1])
            room.left_bytes -= line_bytes
            expected_bytes += line_bytes
            shown.append(_request_line(*values))
        if not shown:
            return
        data = self._rendered(shown)
        self._sink.write(data, len(shown))
        if len(data) > expected_bytes:  # characters that were escaped; whichever class they are of, they count
            for room in self._rooms:
                room.left_bytes -= len(data) - expected_bytes

    def _rendered(self, shown: list[RequestLine]) -> bytes:
        if self._for_people:
            return b"".join(lines.as_text(_as_event(line)) for line in shown)
        try:
            return lines.escaped(self._encode_lines(shown))
        except UnicodeEncodeError:  # one path holds half of a pair of surrogates
            return b"".join(lines.as_json(_as_event(line)) for line in shown)

    def _begin_window(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + _WINDOW_S
            for room in self._rooms:
                room.refill()
            self._report()

    def _leave_out(self, values: tuple[Any, ...]) -> None:
        statuses, clients = self._left_out
        if not statuses:
            asyncio.get_running_loop().call_later(_WINDOW_S, self.flush)  # so that it is reported when no request follows
        statuses[str(values[2])] += 1
        clients[values[6]] += 1
        self.suppressed += 1

    def _report(self) -> None:
        """Write one line about all that were left out."""
        (statuses, clients), self._left_out = self._left_out, (Counter(), Counter())
        if statuses:
            event = {
                "event": "requests not logged",
                "level": "warning",
                "lines": statuses.total(),
                "statuses": dict(statuses),
                "clients": dict(clients.most_common(_CLIENTS_SHOWN)),
            }
            self._sink.write(PIPELINE.render(event))


def _request_line(
    method: str, path: str, status: int, duration_s: float, sent_bytes: int, request_id: bytes, client: str, at_s: float
) -> RequestLine:
    duration_ms = int(duration_s * 1_000_000) / 1000
    at = datetime.fromtimestamp(at_s, UTC)
    name = request_id.decode("latin-1")
    return RequestLine(method[:_METHOD_CHARS], path, status, duration_ms, sent_bytes, name, client, "request", "info", at)


def _as_event(line: RequestLine) -> dict[str, Any]:
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    return fields | {"timestamp": lines.utc(line.timestamp)}

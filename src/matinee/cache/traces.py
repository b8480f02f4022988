"""Traces, the sequences of ids that a simulation replays: three that are made up, and how recorded ones are read.

Called by the command line. The same seed makes the same trace. In none of the three does an id tell how popular it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, cycle, islice
from random import Random

import msgspec

_EXPONENT = 0.9  # how steeply popularity falls: the millionth id is asked for 250,000 times less than the first
_TOP_SHARE = 0.01  # of the ids: the favourites, among which the drift takes place
_FRESH_SHARE = 0.2  # of the favourites: replaced at each step of the drift
_STEP = 20  # requests for each favourite between two steps
_CRAWLER_SHARE = 0.3  # of the requests
_MOVIE = "/v1/movies/"
_SERVED = {200, 304}


@dataclass(frozen=True)
class Trace:
    """What was asked for, in order; how many ids there are to ask for; the numbers of the lines that could not be read."""

    ids: Sequence[Hashable]
    population: int
    bad_lines: Sequence[int] = ()


def zipf(requests: int, ids: int, seed: int) -> Trace:
    """Make a trace whose favourites stay the same: popularity after Zipf's law."""
    return Trace(list(islice(_drifting(ids, seed, 0), requests)), ids)


def drift(requests: int, ids: int, seed: int) -> Trace:
    """Make a trace whose favourites change: for a million ids, each 200,000 requests 2,000 of the first 10,000."""
    return Trace(list(islice(_drifting(ids, seed, _FRESH_SHARE), requests)), ids)


def crawler(requests: int, ids: int, seed: int) -> Trace:
    """Make a trace of which 30 % is a crawler that walks through all ids in turn."""
    chance = Random(seed + 1).random  # noqa: S311  a trace is no secret
    people, walk = _drifting(ids, seed, 0), cycle(range(ids))
    return Trace([next(walk if chance() < _CRAWLER_SHARE else people) for _ in range(requests)], ids)


MAKERS: dict[str, Callable[[int, int, int], Trace]] = {"zipf": zipf, "drift": drift, "crawler": crawler}


def _drifting(ids: int, seed: int, fresh_share: float) -> Iterator[int]:
    """Yield requests without end; between two steps, some favourites change places with ids that are none."""
    random = Random(seed)  # noqa: S311  a trace is no secret
    by_rank = list(range(ids))
    random.shuffle(by_rank)
    weights = list(accumulate((rank + 1) ** -_EXPONENT for rank in range(ids)))
    favourites = max(1, int(ids * _TOP_SHARE))
    fresh = min(int(favourites * fresh_share), ids - favourites)
    while True:
        yield from random.choices(by_rank, cum_weights=weights, k=_STEP * favourites)
        leaving = random.sample(range(favourites), fresh)
        coming = random.sample(range(favourites, ids), fresh)
        for old, new in zip(leaving, coming, strict=True):
            by_rank[old], by_rank[new] = by_rank[new], by_rank[old]


class _LogLine(msgspec.Struct):
    event: str = ""
    method: str = "GET"
    path: str = ""
    status: int = 0


def read(lines: Iterable[str]) -> Trace:
    """Read a recorded trace: lines `timestamp,id` in order of time, or the access log of Matinee as JSON lines.

    Of a log only the movies that were served count; other lines of it are passed over, as blank ones and a header are.
    """
    decode = msgspec.json.Decoder(_LogLine).decode
    ids: list[Hashable] = []
    known: dict[str, str] = {}  # one string for each id, however often it comes
    bad: list[int] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        try:
            key = _movie_of(decode(line)) if line.startswith("{") else _id_of(line)
        except ValueError:  # of which msgspec's errors are
            if number > 1 or line.startswith("{"):
                bad.append(number)
        else:
            if key:
                ids.append(known.setdefault(key, key))
    return Trace(ids, len(known), bad)


def _movie_of(line: _LogLine) -> str:
    """Return the movie that a request was answered with; nothing for any other line of the log."""
    is_read = line.event == "request" and line.method in {"GET", "HEAD"} and line.status in _SERVED
    movie = line.path.removeprefix(_MOVIE)
    return movie if is_read and line.path.startswith(_MOVIE) and "/" not in movie else ""


def _id_of(line: str) -> str:
    """Return the id of a line `timestamp,id`, nothing for a blank one. Raises: ValueError."""
    if not line:
        return ""
    moment, key = line.split(",")
    if not moment.replace(".", "", 1).isdecimal():
        datetime.fromisoformat(moment)
    if not key.strip():
        raise ValueError("no id")
    return key.strip()

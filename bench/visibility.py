"""How long after its acknowledgement a write can be read: through a server, and on each follower itself.

Called by followers.py. A place is asked again every few milliseconds until it shows the write, each place from a thread and
over a connection of its own, so the time of the question that shows it is in the figure.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import psycopg
from tests.cluster.load import Load

THROUGH_SERVER = "through the server"
WRITES_A_SECOND = 2
_ASK_INTERVAL_S = 0.002
_GIVE_UP_S = 10.0  # one that takes longer counts as so long
_ANSWER_WITHIN_S = 10.0


class Written(NamedTuple):
    """A write that was acknowledged."""

    movie_id: int
    position: int


class Place(Protocol):
    """Where a write is looked for."""

    def shows(self, written: Written) -> bool:
        """Return whether the write can be read here now."""


class Api:
    """A server of ours, which is written to and read from, each over a connection of its own."""

    def __init__(self, url: str, key: str) -> None:
        address = urlsplit(url).netloc
        self.reading = http.client.HTTPConnection(address, timeout=_ANSWER_WITHIN_S)
        self.writing = http.client.HTTPConnection(address, timeout=_ANSWER_WITHIN_S)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def write(self, number: int) -> Written:
        """Add a movie. Raises: RuntimeError when it is refused."""
        body = json.dumps({"title": f"Bench {number}", "year": 2000 + number % 20, "genres": ["Drama"]})
        self.writing.request("POST", "/v1/movies", body, self._headers)
        answer = self.writing.getresponse()
        said = answer.read()
        if answer.status != 201:
            raise RuntimeError(f"a write was answered {answer.status}: {said[:300].decode(errors='replace')}")
        return Written(json.loads(said)["id"], _position(answer))

    def shows(self, written: Written) -> bool:
        """Return whether a plain GET, which demands no position, finds the movie."""
        self.reading.request("GET", f"/v1/movies/{written.movie_id}")
        answer = self.reading.getresponse()
        answer.read()
        return answer.status == 200 and _position(answer) >= written.position

    def close(self) -> None:
        """Close both connections."""
        self.reading.close()
        self.writing.close()


class Follower:
    """A follower, asked past any server of ours."""

    def __init__(self, session: psycopg.Connection) -> None:
        self._session = session

    def shows(self, written: Written) -> bool:
        """Return whether the follower has replayed the write."""
        row = self._session.execute("SELECT position FROM log_head").fetchone()
        return row is not None and row[0] >= written.position


class Reads(Load):
    """The load of the fault tests without its writes: those whose way is watched are the only ones."""

    async def _write_on(self) -> None:
        return


def measure(url: str, key: str, follower_urls: Mapping[str, str], writes: int) -> dict[str, list[float]]:
    """Write again and again; return for each place how many milliseconds each write took to be seen there."""
    with ExitStack() as stack:
        api = stack.enter_context(closing(Api(url, key)))
        places: dict[str, Place] = {THROUGH_SERVER: api}
        for name, follower_url in follower_urls.items():
            places[name] = Follower(stack.enter_context(psycopg.connect(follower_url, autocommit=True)))
        threads = stack.enter_context(ThreadPoolExecutor(len(places)))
        times: dict[str, list[float]] = {name: [] for name in places}
        for number in _on_time(writes):
            written, acknowledged_s = api.write(number), time.monotonic()
            seen = [threads.submit(_until_shown, place, written) for place in places.values()]
            for name, future in zip(places, seen, strict=True):
                times[name].append((future.result() - acknowledged_s) * 1000)
        return times


@contextmanager
def reads(url: str, movies: int) -> Iterator[Load]:
    """Read on beside the block, from this process, 300 times a second."""
    with Reads(url, "", movies) as load:
        yield load


def _on_time(count: int) -> Iterator[int]:
    due_s = time.monotonic()
    for number in range(count):
        yield number
        due_s += 1 / WRITES_A_SECOND
        time.sleep(max(0.0, due_s - time.monotonic()))


def _until_shown(place: Place, written: Written) -> float:
    """Return when a place showed a write, or when it was given up."""
    ends_s = time.monotonic() + _GIVE_UP_S
    while not place.shows(written) and time.monotonic() < ends_s:
        time.sleep(_ASK_INTERVAL_S)
    return time.monotonic()


def _position(answer: http.client.HTTPResponse) -> int:
    return int(answer.headers.get("Matinee-Position", 0))

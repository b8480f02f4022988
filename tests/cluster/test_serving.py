"""Starting, serving with several processes, ending and being killed: what clients see of it, and what stays behind."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from matinee.write import keys
from tests.cluster.catalogue_file import ask, contradictions, position
from tests.cluster.children import alive, children
from tests.processes import Server, eventually, matinee, start_server


@dataclass
class Asking:
    """A client that asks on and on, a new connection each time."""

    url: str
    answered: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.is_set() and not self.refused:
            try:
                self.answered.append(httpx.get(self.url, timeout=10).status_code)
            except httpx.ConnectError:
                self.refused += 1
            except httpx.TransportError as error:
                self.failed.append(repr(error))


@contextmanager
def asking(url: str, clients: int) -> Iterator[list[Asking]]:
    """Let several clients ask beside the test."""
    several = [Asking(url) for _ in range(clients)]
    threads = [threading.Thread(target=one.run) for one in several]
    for thread in threads:
        thread.start()
    try:
        yield several
    finally:
        for one in several:
            one._over.set()
        for thread in threads:
            thread.join(15)


def test_a_server_that_is_told_to_end_says_so_first_and_goes_on_answering(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_DRAIN_S="2") as server:
        server.process.send_signal(signal.SIGTERM)
        unready = eventually(lambda: server.get("/readyz"), lambda answer: answer.status_code == 503, deadline_s=1.5)
        still = server.get("/v1/movies/1")
        code = server.process.wait(30)

    assert unready.json()["reason"] == "The server is ending: it finishes what it has and wants no new requests."
    assert unready.json()["status"] == "not ready"
    assert still.status_code == 200
    assert code == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_ends_answers_all_who_heed_its_readiness_and_leaves_no_process(
    small_catalogue: Path, workers: str
) -> None:
    with start_server(small_catalogue, "--workers", workers, MATINEE_DRAIN_S="2") as server:
        below = children(server.process.pid)
        with asking(f"{server.url}/v1/movies?sort=title", clients=4) as clients:
            eventually(lambda: min(len(one.answered) for one in clients), lambda least: least > 3)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: server.get("/readyz").status_code, lambda status: status == 503, deadline_s=1.5)
        code = server.process.wait(30)

    assert code == 0
    assert [(one.failed, one.refused) for one in clients] == [([], 0)] * 4
    assert {status for one in clients for status in one.answered} == {200}
    assert len(below) >= int(workers)
    assert eventually(lambda: alive(below), lambda left: not left) == set()


def is_accepting(server: Server) -> bool:
    """Return whether a new client is answered."""
    try:
        return httpx.get(f"{server.url}/livez", timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_write_that_is_half_sent_when_the_server_ends_is_finished_and_answered(small_catalogue: Path, workers: str) -> None:
    key, body = keys.create("tests", "write", "tests").text, b'{"title": "Sent in two halves"}'
    head = f"POST /v1/movies HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    with start_server(small_catalogue, "--workers", workers, MATINEE_DRAIN_S="1") as server:
        with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=15) as wire:
            wire.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_accepting(server), lambda accepting: not accepting)
            wire.sendall(body[10:])
            answer = wire.recv(65_536)
        code = server.process.wait(30)

    assert answer.startswith(b"HTTP/1.1 201 "), answer
    assert code == 0
    assert ask(small_catalogue, "SELECT id FROM movie WHERE title = 'Sent in two halves'") == [(13,)]


def test_a_server_killed_with_9_leaves_no_worker(small_catalogue: Path) -> None:
    with start_server(small_catalogue, "--workers", "2") as server:
        below = children(server.process.pid)
        server.process.kill()
        server.process.wait(10)

        assert len(below) >= 2
        assert eventually(lambda: alive(below), lambda left: not left, deadline_s=20) == set()
        with pytest.raises(httpx.TransportError):
            server.get("/livez")


@pytest.fixture
def two_workers(small_catalogue: Path) -> Iterator[Server]:
    """Return a server over the small catalogue whose two processes both answer."""
    with start_server(small_catalogue, "--workers", "2") as server:
        until_both_answer(server, "/livez")
        yield server


def by_process(answers: list[httpx.Response]) -> dict[str, int]:
    """Return how many of these each server process gave: a request's id begins with its process."""
    processes = [answer.headers["x-request-id"].partition("-")[0] for answer in answers]
    return {process: processes.count(process) for process in processes}


def until_both_answer(server: Server, path: str) -> list[httpx.Response]:
    """Ask until each of two processes has answered, and return all answers."""
    answers: list[httpx.Response] = []
    eventually(lambda: answers.append(server.get(path)) or by_process(answers), lambda seen: len(seen) == 2, deadline_s=30)
    return answers


def test_a_write_is_visible_to_who_shows_its_position_whichever_worker_answers(two_workers: Server) -> None:
    authorization = {"authorization": f"Bearer {keys.create('tests', 'write', 'tests').text}"}
    answers: list[httpx.Response] = []
    for year in range(1980, 1990):
        stated = authorization | {"if-match": two_workers.get("/v1/movies/1").headers["etag"]}
        written = httpx.patch(f"{two_workers.url}/v1/movies/1", json={"year": year}, headers=stated, timeout=10)
        shown = {"matinee-min-position": written.headers["matinee-position"]}
        read = [two_workers.get("/v1/movies/1", headers=shown) for _ in range(4)]
        answers += [written, *read]

        assert written.status_code == 200, written.text
        assert [(answer.json()["year"], answer.headers["etag"]) for answer in read] == [(year, written.headers["etag"])] * 4
        assert two_workers.get("/v1/changes?since=12").json()["position"] == int(written.headers["matinee-position"])

    assert len(by_process(answers)) == 2


def test_metrics_of_any_worker_count_the_requests_of_all(two_workers: Server) -> None:
    asked = len(until_both_answer(two_workers, "/v1/genres"))

    line = f'matinee_http_requests_total{{method="GET",route="/v1/genres",status="200"}} {asked}.0'

    # A worker brings what it has counted to the files once a second, and each keeps what it rendered for a second.
    def shown() -> set[bool]:
        return {line in answer.text.splitlines() for answer in until_both_answer(two_workers, "/metrics")}

    eventually(shown, lambda seen: seen == {True})


@pytest.mark.sqlite_only("a file is made; on PostgreSQL `matinee cluster up` makes everything")
def test_up_makes_everything_from_nothing_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()  # the log of the server lies in it
    with start_server(home, "--no-sample", command="up") as first:
        assert first.get("/readyz").json()["status"] == "ready"
        assert first.get("/v1/movies").json()["items"] == []
    imported = matinee(home, "import", "ndjson", "-", stdin=b'{"title": "Alien", "year": 1979, "genres": ["Horror"]}\n')
    assert imported.returncode == 0, imported.stderr
    before = position(home)

    with start_server(home, command="up") as second:
        assert second.get("/v1/movies").json()["items"][0]["title"] == "Alien"

    assert first.log.read_text().count("and password `") == 1
    assert "password" not in second.log.read_text()
    assert "Sample" not in second.log.read_text()
    assert (position(home), contradictions(home)) == (before, [])

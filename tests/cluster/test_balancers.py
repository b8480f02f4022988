"""What is rendered for HAProxy and nginx does what it says: limits, retries, and a cache that answers nobody wrongly."""

from __future__ import annotations

import csv
import gzip
import http.client
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import brotli
import httpx
import pytest

from matinee.ops import engines, node_config, rendering
from matinee.ops.engines import EngineNode
from matinee.ops.layout import Local
from matinee.ops.processes import free_port
from matinee.ops.topology import BALANCERS, Place, Sizes, Topology, ports_of
from tests.cluster.planted import Planted, Seen, planted_servers
from tests.conftest import catalogue_in
from tests.movies import SMALL_CATALOGUE, record
from tests.processes import eventually, start_server

pytestmark = pytest.mark.sqlite_only("the catalogue behind is only read: once is enough")
_CLIENT_REQUESTS_PER_S = 50
_MOVIE, _LIST = "/v1/movies/1", "/v1/movies"
_PASSWORD = "of-the-tests"
_KEPT_S = 2  # whole seconds pass: HAProxy keeps an answer for one at least
_GREEDY = "127.0.0.9"  # a client with an address of its own
_UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "br": brotli.decompress, "identity": bytes}
_hosts = (f"test-{number}.localhost" for number in count())


@dataclass
class Answer:
    """What the balancer answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def from_cache(self) -> bool:
        """Return whether the balancer says that it had kept the answer."""
        return self.headers["x-cache"].lower() == "hit"

    def problem(self) -> tuple[int, str, int]:
        """Return the status, the type and the status that a problem says."""
        return self.status, self.headers["content-type"], json.loads(self.body)["status"]


@dataclass
class Balanced:
    """A balancer that was rendered, before two servers."""

    engine: str
    port: int
    stats_port: int
    servers: Planted

    def ask(self, host: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Send a request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)) as wire:
            wire.request(method, path, body, {"host": host} | {name.replace("_", "-"): text for name, text in headers.items()})
            answer = wire.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def asked(self, host: str) -> list[Seen]:
        """Return what reached the servers."""
        return self.servers.asked(host)

    def wait_for_both(self) -> None:
        """Return when both servers get requests."""

        def answering() -> set[int]:
            host = next(_hosts)
            for _ in range(4):
                self.ask(host, "/planted/echo", cache_control="no-cache")
            return {seen.port for seen in self.asked(host)}

        eventually(answering, lambda ports: len(ports) == 2, 20)


@pytest.fixture(scope="module")
def servers(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """Return two servers that pass on to a real one; a balancer's cache may keep its answers for two seconds."""
    from matinee.write import batches

    home = tmp_path_factory.mktemp("balanced")
    with catalogue_in(home, empty_catalogue):
        batches.write([record(line, **movie) for line, movie in enumerate(SMALL_CATALOGUE, start=1)], "tests")
        with (
            start_server(home, MATINEE_S_MAXAGE_S=str(_KEPT_S), MATINEE_CORS_ORIGINS="https://films.example") as behind,
            planted_servers(behind) as planted,
        ):
            yield planted


@pytest.fixture(scope="module", params=BALANCERS)
def balanced(request: pytest.FixtureRequest, servers: Planted) -> Iterator[Balanced]:
    """Return each balancer in turn, with its micro-cache."""
    sizes = Sizes(client_connections=1_000, client_requests_per_s=_CLIENT_REQUESTS_PER_S)
    with balancer(request.param, servers.ports, sizes) as ports:
        yield Balanced(request.param, ports["port"], ports["stats_port"], servers)


@pytest.fixture
def small(servers: Planted) -> Iterator[Balanced]:
    """Return HAProxy with room for two requests, two that wait, and ten connections."""
    with balancer("haproxy", servers.ports, Sizes(server_requests=1, queue=1, client_connections=10)) as ports:
        yield Balanced("haproxy", ports["port"], ports["stats_port"], servers)


@contextmanager
def balancer(engine: str, server_ports: list[int], sizes: Sizes) -> Iterator[Mapping[str, int]]:
    """Run a balancer from its rendered file until the block ends; give its ports."""
    folder = Path(tempfile.mkdtemp(prefix="matinee-tests-"))  # short: a socket lies in it
    folder.chmod(0o711)  # for a root nginx works as another user, who must get through
    place = Place("balancer", "balancer", "local", "127.0.0.1", {name: free_port() for name in ports_of("balancer")})
    places = [Place(f"server-{port}", "server", "local", "127.0.0.1", {"port": port}) for port in server_ports]
    topology = Topology(balancer=engine, micro_cache=True, sizes=sizes, hosts={"local": "127.0.0.1"}, places=(place, *places))
    node = rendered(topology, place, Local(folder, folder, folder, folder))
    try:
        node.start()
        yield place.ports
    finally:
        node.end()
        shutil.rmtree(folder)


def rendered(topology: Topology, place: Place, layout: Local) -> EngineNode:
    """Return a balancer with its file."""
    database = Place("leader", "database", "local", "127.0.0.1", {"port": 1})  # which no balancer ever asks
    topology = Topology(**{**vars(topology), "tls": False, "places": (*topology.places, database)})
    secrets = dict.fromkeys(rendering.SECRETS, _PASSWORD)
    file = layout.config(place, node_config.suffix_of(topology, place))
    file.write_text(node_config.config_of(node_config.Cluster(topology, layout, secrets, {}), place) or "")
    layout.data(place).mkdir()
    command = engines.command_of("balancer", topology.balancer, file, layout.data(place), layout.master(place))
    return EngineNode(place, command, layout.data(place) / "log")


@pytest.fixture
def host() -> str:
    """Return a name that nobody has asked for yet: nothing is kept for it."""
    return next(_hosts)


def test_what_was_answered_a_moment_ago_is_answered_again_without_a_server(balanced: Balanced, host: str) -> None:
    first, second = balanced.ask(host, _MOVIE), balanced.ask(host, _MOVIE)

    assert [(answer.status, answer.from_cache) for answer in (first, second)] == [(200, False), (200, True)]
    assert (second.body, second.headers["etag"]) == (first.body, first.headers["etag"])
    assert len(balanced.asked(host)) == 1


def test_after_the_time_that_the_answer_allows_a_server_is_asked_again(balanced: Balanced, host: str) -> None:
    balanced.ask(host, _MOVIE)

    eventually(lambda: balanced.ask(host, _MOVIE), lambda _: len(balanced.asked(host)) > 1, 2 * _KEPT_S)


DEMANDS: dict[str, dict[str, str]] = {
    "who shows a key": {"authorization": "Bearer of-nothing"},
    "who shows a position": {"matinee_min_position": "1"},
    "who shows the position of the admin": {"cookie": "a=b; matinee_position=1"},
    "who wants it fresh": {"cache_control": "max-stale=5"},
    "who shows an ETag that holds a position": {"if_none_match": '"1.1"'},
    "a page of another site": {"origin": "https://films.example"},
}


@pytest.mark.parametrize("who", DEMANDS)
def test_a_server_answers(balanced: Balanced, host: str, who: str) -> None:
    balanced.ask(host, _MOVIE)

    answer = balanced.ask(host, _MOVIE, "GET", None, **DEMANDS[who])

    assert not answer.from_cache
    (_, seen) = balanced.asked(host)
    assert DEMANDS[who].items() <= {name.replace("-", "_"): value for name, value in seen.headers.items()}.items()


def test_what_another_site_was_answered_is_kept_for_nobody(balanced: Balanced, host: str) -> None:
    allowed = balanced.ask(host, _MOVIE, origin="https://films.example")

    answer = balanced.ask(host, _MOVIE)

    assert allowed.headers["access-control-allow-origin"] == "https://films.example"
    assert (answer.from_cache, answer.headers["access-control-allow-origin"]) == (False, None)


def test_what_nobody_has_asked_for_lately_is_not_answered_from_the_cache(balanced: Balanced, host: str) -> None:
    body = balanced.ask(host, _MOVIE).body
    asked_s = time.monotonic()
    eventually(time.monotonic, lambda now_s: now_s > asked_s + 2 * _KEPT_S + 1.2)  # as long again nginx may give it out

    answer = balanced.ask(host, _MOVIE)

    assert (answer.from_cache, answer.headers["x-cache"].lower() in {"miss", "expired"}, answer.body) == (False, True, body)


@pytest.mark.parametrize("path", ["/v1/changes", "/v1/movies/99", "/openapi.json", "/docs"])
def test_what_does_not_say_so_is_not_kept(balanced: Balanced, host: str, path: str) -> None:
    answers = [balanced.ask(host, path) for _ in range(2)]

    assert [answer.from_cache for answer in answers] == [False, False]
    assert len(balanced.asked(host)) == 2


@pytest.mark.parametrize("path", [_MOVIE, _LIST])
def test_who_has_the_answer_already_gets_304_and_no_body(balanced: Balanced, host: str, path: str) -> None:
    etag = balanced.ask(host, path).headers["etag"]

    answer = balanced.ask(host, path, if_none_match=etag)

    assert (answer.status, answer.headers["etag"], answer.body) == (304, etag, b"")
    assert len(balanced.asked(host)) == (2 if path == _MOVIE else 1)


def test_a_head_has_the_headers_of_the_get_and_leaves_its_body_alone(balanced: Balanced, host: str) -> None:
    answers = [balanced.ask(host, _MOVIE, method) for method in ("HEAD", "GET", "HEAD", "GET")]

    told = {(answer.status, answer.headers["etag"], answer.headers["content-length"]) for answer in answers}
    assert len(told) == 1
    length = int(answers[0].headers["content-length"])
    assert [len(answer.body) for answer in answers] == [0, length, 0, length]


def test_each_compressed_form_is_kept_for_those_who_take_it(balanced: Balanced, host: str) -> None:
    accepted = ["gzip", "br", "identity"] * 2

    answers = [balanced.ask(host, _LIST, accept_encoding=encoding) for encoding in accepted]

    forms = [answer.headers["content-encoding"] or "identity" for answer in answers]
    assert forms[:3] == accepted[:3]
    # HAProxy gives the plain form, once it has it, to everybody: everybody takes it.
    assert all(form in {encoding, "identity"} for form, encoding in zip(forms, accepted, strict=True))
    assert [answer.from_cache for answer in answers] == [False] * 3 + [True] * 3
    assert {_UNPACK[form](answer.body) for form, answer in zip(forms, answers, strict=True)} == {answers[2].body}


@pytest.mark.parametrize("is_kept", [False, True])
def test_an_answer_has_the_id_of_its_own_request(balanced: Balanced, host: str, is_kept: bool) -> None:
    if is_kept:
        balanced.ask(host, _MOVIE, x_request_id="of-another")

    answer = balanced.ask(host, _MOVIE, x_request_id="of-this-one")

    assert (answer.from_cache, answer.headers.get_all("x-request-id")) == (is_kept, ["of-this-one"])


def test_a_server_is_told_who_asks_and_by_which_id(balanced: Balanced, host: str) -> None:
    named = balanced.ask(host, "/planted/echo", x_request_id="mine", x_forwarded_for="10.9.8.7").body
    unnamed = json.loads(balanced.ask(host, "/planted/echo").body)

    told = json.loads(named)
    assert (told["x-request-id"], told["x-forwarded-for"], told["x-forwarded-proto"]) == ("mine", "127.0.0.1", "http")
    assert len(unnamed["x-request-id"]) >= 32


def test_a_client_beyond_its_limit_gets_429_and_another_is_served(balanced: Balanced, host: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", balanced.port, timeout=15, source_address=(_GREEDY, 0))) as wire:
        answers = []
        for _ in range(_CLIENT_REQUESTS_PER_S * 10 + 1):
            wire.request("GET", "/planted/echo", headers={"host": host})
            answer = wire.getresponse()
            answers.append(Answer(answer.status, answer.headers, answer.read()))

    (*_, refused) = [answer for answer in answers if answer.status != 200]
    assert (answers[0].status, *refused.problem()) == (200, 429, "application/problem+json", 429)
    assert refused.headers["retry-after"] == "10"
    assert balanced.ask(host, "/planted/echo").status == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(balanced: Balanced, host: str) -> None:
    with socket.create_connection(("127.0.0.1", balanced.port), timeout=15) as wire:
        stated = node_config.MAX_BODY_BYTES + 1
        wire.sendall(f"POST {_LIST} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {stated}\r\n\r\n".encode())
        answer = read_from(wire)

    assert answer.problem() == (413, "application/problem+json", 413)
    assert balanced.asked(host) == []


def test_headers_that_do_not_come_to_an_end_are_waited_for_five_seconds(balanced: Balanced, host: str) -> None:
    with socket.create_connection(("127.0.0.1", balanced.port), timeout=15) as wire:
        wire.sendall(f"GET {_MOVIE} HTTP/1.1\r\nHost: {host}\r\n".encode())
        if balanced.engine == "nginx":
            assert wire.recv(100) == b""  # it hangs up, and says so to its log only
        else:
            assert read_from(wire).status == 408

    assert balanced.asked(host) == []


def read_from(wire: socket.socket) -> Answer:
    """Read one answer from the wire."""
    answer = http.client.HTTPResponse(wire)
    answer.begin()
    return Answer(answer.status, answer.headers, answer.read())


def test_a_read_whose_server_dies_is_answered_by_the_other(balanced: Balanced, host: str) -> None:
    balanced.wait_for_both()

    answer = balanced.ask(host, "/planted/dies")

    assert answer.status == 200
    first, second = balanced.asked(host)
    assert first.port != second.port


def test_a_write_whose_server_dies_is_not_sent_again(balanced: Balanced, host: str) -> None:
    balanced.wait_for_both()

    answer = balanced.ask(host, "/planted/dies", "POST", b'{"title": "Once"}')

    assert answer.problem() == (502, "application/problem+json", 502)
    assert answer.headers["retry-after"] == "1"
    assert len(balanced.asked(host)) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_any_server_the_answer_comes_soon_and_says_to_try_again(balanced: Balanced, host: str, method: str) -> None:
    # nginx does not look at its servers by itself: it answers what became of the request.
    expected = 502 if balanced.engine == "nginx" else 503
    balanced.servers.is_gone = True
    try:
        answer = eventually(lambda: balanced.ask(host, "/planted/echo", method), lambda answer: answer.status == expected)
    finally:
        balanced.servers.is_gone = False
        balanced.wait_for_both()

    assert answer.problem() == (expected, "application/problem+json", expected)
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(("method", "backend"), [("GET", "read"), ("POST", "write")])
def test_what_finds_no_room_in_the_queue_is_refused_at_once(small: Balanced, host: str, method: str, backend: str) -> None:
    small.wait_for_both()
    small.servers.goes_on.clear()
    with ThreadPoolExecutor(10) as clients:
        asked = [clients.submit(small.ask, host, "/planted/waits", method) for _ in range(10)]
        eventually(
            lambda: sum(answer.done() for answer in asked), lambda done: done == 8
        )  # who waits does so for half a second
        small.servers.goes_on.set()

    refused = [answer.result() for answer in asked if answer.result().status != 200]
    assert {(*answer.problem(), answer.headers["retry-after"]) for answer in refused} == {
        (503, "application/problem+json", 503, "1")
    }
    assert denied(small, backend) >= 4


def denied(balanced: Balanced, backend: str) -> int:
    """Return how many requests HAProxy has let into no queue."""
    page = httpx.get(f"http://127.0.0.1:{balanced.stats_port}/;csv", auth=("operator", _PASSWORD)).text
    lines = csv.DictReader(page.removeprefix("# ").splitlines())
    return next(int(line["dreq"]) for line in lines if (line["pxname"], line["svname"]) == (backend, "BACKEND"))


def test_a_client_gives_its_connection_back_when_few_are_left(small: Balanced, host: str) -> None:
    with ExitStack() as left:
        wires = [http.client.HTTPConnection("127.0.0.1", small.port, timeout=15) for _ in range(9)]
        told = []
        for wire in wires:
            left.callback(wire.close)
            wire.request("GET", "/planted/echo", headers={"host": host})
            answer = wire.getresponse()
            told.append((answer.status, answer.headers["connection"], answer.read() != b"", wire.sock is None))

    assert told == [(200, None, True, False)] * 8 + [(200, "close", True, True)]

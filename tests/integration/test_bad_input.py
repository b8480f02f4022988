"""Raw ASGI requests that no decent client sends, straight to the front: no fault of ours, one shape, always an id."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from tests.client import Client

MOVIE = "/v1/movies/1"
HOST = (b"host", b"localhost")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
Header = tuple[bytes, bytes]
Message = dict[str, Any]


@dataclass
class Raw:
    """What one request was answered."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    @property
    def slug(self) -> str:
        return str(json.loads(self.body)["type"]).rpartition("/")[2]


def whole(body: bytes = b"") -> list[Message]:
    return [{"type": "http.request", "body": body, "more_body": False}]


def cut(body: bytes) -> list[Message]:
    return [{"type": "http.request", "body": body, "more_body": True}, *[{"type": "http.disconnect"}] * 3]


@dataclass
class Service:
    """The service in process, and the lines of its access log."""

    client: Client
    lines: list[tuple[str, str, int]]

    def ask(
        self,
        path: str = MOVIE,
        *headers: Header,
        method: str = "GET",
        query: bytes = b"",
        body: list[Message] | None = None,
        sending: Callable[[Message], None] = lambda _: None,
    ) -> Raw:
        """Send one request as the server below hands it over."""
        answer, messages = Raw(), list(body or whole())

        async def receive() -> Message:
            if not messages:
                await asyncio.Event().wait()  # the client waits for its answer; whoever listens on is cancelled
            return messages.pop(0)

        async def send(message: Message) -> None:
            sending(message)
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], {name.lower(): value for name, value in message["headers"]}
            answer.body += message.get("body", b"")

        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
                 "path": path, "raw_path": path.encode(errors="replace"), "query_string": query, "root_path": "",
                 "headers": [HOST, *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}  # fmt: skip
        self.client._loop.run_until_complete(self.client.front(scope, receive, send))
        return answer


@pytest.fixture
def service(small_catalogue: Path) -> Iterator[Service]:
    """Return the service, which holds the first movie in its local tier."""
    with Client(configuration.load(home=small_catalogue)) as client:
        lines: list[tuple[str, str, int]] = []
        log = client.front.access_log
        log.is_on = True
        log.note = lambda method, path, status, *_, **__: lines.append((method, path, status))  # type: ignore[method-assign]
        made = Service(client, lines)
        made.ask("/readyz")
        made.ask()
        yield made


def require_whole(answer: Raw, about: object) -> None:
    """Fail unless an answer is whole: no fault of ours, its id, and a problem if it is one."""
    assert 200 <= answer.status < 500, (about, answer)
    assert _REQUEST_ID.fullmatch(answer.headers[b"x-request-id"]), about
    if answer.status >= 400 and answer.body and not answer.headers[b"content-type"].startswith(b"text/"):
        problem = json.loads(answer.body)
        assert answer.headers[b"content-type"] == b"application/problem+json", about
        shown = (problem["status"], problem["request_id"].encode())
        assert shown == (answer.status, answer.headers[b"x-request-id"]), about
        assert problem["detail"], about


POSITIONS = [
    b"abc",
    b"",
    b"-1",
    b"1.0",
    b"1e3",
    b" 1",
    b"\xd9\xa1",
    "١".encode(),
    b"9" * 19,
    b"9" * 60_000,
    b"\x00",
    b"0x1",
    b"+1",
]


@pytest.mark.parametrize("stated", POSITIONS, ids=range(len(POSITIONS)))
@pytest.mark.parametrize("path", [MOVIE, "/v1/movies", "/v1/movies/999"])
def test_a_position_that_is_none_is_a_400_on_a_hit_and_on_a_miss(service: Service, path: str, stated: bytes) -> None:
    service.ask(path)
    service.lines.clear()

    answer = service.ask(path, (b"matinee-min-position", stated))

    require_whole(answer, stated)
    assert (answer.status, answer.slug, service.lines) == (400, "invalid-parameter", [("GET", path, 400)])


KEYED = {"content-type": "application/json"}


def keyed(service: Service, *more: Header) -> list[Header]:
    key = (b"authorization", f"Bearer {service.client.key}".encode())
    return [key, (b"content-type", b"application/json"), (b"if-match", b"*"), *more]


COMPLETE = b'{"title": "Complete"}'


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/movies"), ("PUT", MOVIE), ("PATCH", MOVIE), ("POST", f"{MOVIE}/merge")]
)
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_that_is_broken_off_changes_nothing(service: Service, method: str, path: str, is_chunked: bool) -> None:
    before = service.ask("/v1/changes").body
    framing = (b"transfer-encoding", b"chunked") if is_chunked else (b"content-length", b"%d" % (len(COMPLETE) + 1))

    answers = [service.ask(path, *keyed(service, framing), method=method, body=cut(body)) for body in (COMPLETE, b"", b"{")]

    status = 400 if is_chunked else 499
    assert [answer.status for answer in answers] == [status] * 3
    assert service.lines[-3:] == [(method, path, status)] * 3
    assert service.ask("/v1/changes").body == before


def test_a_body_that_is_shorter_than_stated_changes_nothing_though_it_looks_complete(service: Service) -> None:
    length = (b"content-length", b"%d" % (len(COMPLETE) + 1))

    answer = service.ask("/v1/movies", *keyed(service, length), method="POST", body=whole(COMPLETE))

    assert (answer.status, answer.slug) == (499, "client-gone")


def test_a_form_of_the_admin_that_is_broken_off_is_a_499(service: Service) -> None:
    length = (b"content-length", b"100")

    answer = service.ask("/admin/login/", length, method="POST", body=cut(b"username=a"))

    assert (answer.status, service.lines[-1]) == (499, ("POST", "/admin/login/", 499))


@pytest.mark.parametrize("path", [MOVIE, "/v1/movies/2", "/v1/movies/999", "/nowhere", "/admin/login/", "/livez"])
@pytest.mark.parametrize("message", ["http.response.start", "http.response.body"])
def test_a_client_that_is_gone_when_it_is_answered_is_a_499_and_no_fault(
    service: Service, path: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.client.front, "_fault", boom)

    def gone(sent: Message) -> None:
        if sent["type"] == message:
            raise OSError("the client is gone")

    service.lines.clear()
    service.ask(path, sending=gone)

    assert service.lines == [("GET", path, 499)]


def test_a_cancelled_request_is_cancelled_and_counted(service: Service) -> None:
    def cancelled(_: Message) -> None:
        raise asyncio.CancelledError

    service.lines.clear()
    for path in (MOVIE, "/v1/movies/2"):
        with pytest.raises(asyncio.CancelledError):
            service.ask(path, sending=cancelled)

    assert service.lines == [("GET", MOVIE, 499), ("GET", "/v1/movies/2", 499)]
    assert service.client.front.places.taken == 0


def boom(*_: object, **__: object) -> Any:
    raise RuntimeError("a fault of the tests")


def test_a_fault_of_the_local_cache_costs_the_hit_and_not_the_request(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.client.front._reads, "hit", boom)

    assert service.ask().status == 200


@pytest.mark.parametrize("path", [MOVIE, "/v1/movies/2", "/livez", "/admin/login/"])
def test_a_log_or_a_meter_that_fails_changes_no_answer(service: Service, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(service.client.front.access_log, "note", boom)
    logged = service.ask(path).status
    monkeypatch.setattr(service.client.front._meter, "record", boom)

    assert (logged, service.ask(path).status) == (200, 200)


@pytest.mark.parametrize("part", ["joins", "takes"])
def test_a_fault_before_any_handler_is_a_500_of_our_shape(service: Service, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(service.client.front._reads, part, boom)

    answer = service.ask("/v1/movies/3")

    assert (answer.status, answer.slug, json.loads(answer.body)["request_id"].encode()) == (
        500, "internal-error", answer.headers[b"x-request-id"]
    )  # fmt: skip
    assert service.client.front.places.taken == 0


def test_a_fault_in_telling_of_a_fault_is_a_500_all_the_same(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matinee.http.exchange.problem_answer", boom)

    answer = service.ask("/v1/movies/" + "x" * 2_000)

    assert (answer.status, answer.slug) == (500, "internal-error")
    assert service.lines[-1][2] == 500


PATHS = [
    "/v1/movies/{}",
    "/v1/people/{}",
    "/v1/{}",
    "/{}",
    "/docs/errors/{}",
    "/docs/assets/{}",
    "/admin/{}",
    "/static/{}",
    "{}",
]
PATHS += ["/v1/movies/{}/merge", "/admin/catalogue/movie/{}/change/", "/v1/movies/imdb:{}", "/v1/movies/fynd:{}"]
QUERIES = [
    "limit={}",
    "q={}",
    "cursor={}",
    "ids={}",
    "year={}",
    "sort={}",
    "genre={}",
    "rating_min={}",
    "since={}",
    "{}={}",
    "{}",
]
HEADERS = [
    "matinee-min-position",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "accept-encoding",
    "origin",
    "cookie",
    "range",
]
HEADERS += ["cache-control", "x-request-id", "content-length", "content-type", "authorization", "idempotency-key", "accept"]
HEADERS += ["x-forwarded-for", "transfer-encoding", "expect"]
METHODS = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "", "G\u00c9T"]
VALUES = [
    "0",
    "1",
    "-1",
    "%00",
    "%ff%fe",
    "%",
    "..",
    "nan",
    "inf",
    "1e999",
    "*",
    "br;q=nan",
    "null",
    "1_0",
    "+1",
    "[",
    ",,;;==",
    "",
]
VALUES += [" 1", '"', "\n", "\x00", "\u0661", "9" * 400, "9" * 9_000, "\ud800", "\udcff", "a" * 1_100, 'W/"1.1", "', "\u202e"]
VALUES += [
    "matinee_position=" + "9" * 30,
    "max-stale=" + "9" * 30,
    "Fri, 99 Foo 9999 99:99:99 GMT",
    "Bearer \u00ff",
    "1," * 200,
]
VALUES += ["\U0010ffff", '"1.1"' * 300, "../" * 50, "a|" * 200]
BODIES = [
    *b"{} [] null 1e999 -0 {\"title\":1e400} {\"title\":\"x\",\"title\":\"y\"} {\"into\":1.5} {\"into\":1e30}".split(),
    b"", b'{"title":"\\ud800"}', b'{"title":"a\\u0000"}', b"[" * 3_000, b'{"a":' * 3_000, b"\xff\xfe", b"\xef\xbb\xbf{}",
    b'{"title":"x","year":1e3}', b'{"title":"x","year":%d}' % 10**20, b'{"title":"%b"}' % (b"x" * 70_000), b"{" + b" " * 9_000,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_nothing_that_strangers_send_is_a_fault_of_ours(service: Service, seed: int) -> None:
    chance = random.Random(seed)
    key = (b"authorization", f"Bearer {service.client.key}".encode())
    for number in range(60):
        value = chance.choice(VALUES)
        path = (
            chance.choice(PATHS).format(value) if chance.random() < 0.6 else chance.choice([MOVIE, "/v1/movies", "/v1/search"])
        )
        query = chance.choice(QUERIES).replace("{}", chance.choice(VALUES)).encode("utf-8", "surrogatepass")
        stated = [
            (chance.choice(HEADERS).encode(), chance.choice(VALUES).encode("utf-8", "surrogatepass"))
            for _ in range(chance.randrange(4))
        ]
        body = chance.choice(BODIES)
        headers = [key, (b"content-type", b"application/json"), (b"if-match", b"*")] if chance.random() < 0.5 else []
        messages = cut(body) if chance.random() < 0.2 else whole(body)

        answer = service.ask(
            path, *headers, *stated, method=chance.choice(METHODS), query=query if chance.random() < 0.5 else b"", body=messages
        )

        require_whole(answer, (seed, number, path[:80], query[:80], stated, body[:40]))
    assert service.ask("/readyz").status == 200

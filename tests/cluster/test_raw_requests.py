"""Bytes that no decent client sends: each is answered, none with a fault of ours, and those of the API in its one shape."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import catalogue_in
from tests.processes import Server, eventually, start_server

_HOST = b"Host: localhost\r\n"
_SIGNED = _HOST + b"Content-Type: application/json\r\nAuthorization: Bearer KEY\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_BODY_BYTES = 10 * 1024 * 1024
_LONG = b"x" * 10_240
_HUGE_NUMBER = b"9" * 400


@pytest.fixture(scope="module")
def serving(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return one server for all of these: they change nothing."""
    home = tmp_path_factory.mktemp("raw")
    from matinee.write import keys

    with catalogue_in(home, empty_catalogue), start_server(home) as server:
        # These requests sign in nowhere: the password is the API key here.
        server.admin_password = keys.create("tests", "write", "tests").text
        yield server


def test_a_client_that_leaves_in_the_middle_of_its_body_is_a_line_of_499_and_no_fault(serving: Server) -> None:
    host, port = serving.url.removeprefix("http://").split(":")
    headers = _SIGNED.replace(b"KEY", serving.admin_password.encode()) + b"X-Request-Id: left-early\r\nContent-Length: 22\r\n"
    with socket.create_connection((host, int(port)), timeout=15) as wire:
        wire.sendall(line(b"/v1/movies", b"POST", headers) + b'{"title": "Complete"}')

    text = eventually(serving.log.read_text, lambda seen: "left-early" in seen)
    lines = [json.loads(entry) for entry in text.splitlines() if "left-early" in entry]
    assert [(entry["event"], entry["status"]) for entry in lines] == [("request", 499)]
    assert serving.get("/v1/movies").json()["items"] == []


@dataclass
class RawAnswer:
    """An answer as it came over the wire."""

    status: int
    content_type: str
    body: bytes


def send(server: Server, request: bytes) -> RawAnswer:
    """Send these bytes and read one answer."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=15) as wire:
        wire.sendall(request.replace(b"Bearer KEY", b"Bearer " + server.admin_password.encode()))
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return RawAnswer(answer.status, answer.headers.get("content-type", ""), answer.read())


def line(target: bytes, method: bytes = b"GET", headers: bytes = _HOST) -> bytes:
    """Return a request without a body."""
    return method + b" " + target + b" HTTP/1.1\r\n" + headers + b"Connection: close\r\n\r\n"


REFUSED = {
    "a broken percent encoding in the path": (line(b"/v1/movies/%zz"), 400),
    "a cut-off percent encoding in the path": (line(b"/v1/movies/%4"), 400),
    "bad UTF-8 in the path": (line(b"/v1/movies/%ff%fe"), 400),
    "bad UTF-8 in an unknown path": (line(b"/v1/%c3%28"), 404),
    "NUL in the path": (line(b"/v1/movies/%00"), 400),
    "NUL in an external id": (line(b"/v1/movies/imdb:tt%00"), 400),
    "a surrogate in the path": (line(b"/v1/movies/%ed%a0%80"), 400),
    "a broken percent encoding in the query": (line(b"/v1/movies?genre=%zz&limit=%"), 400),
    "bad UTF-8 in the query": (line(b"/v1/search?q=%ff%fe"), 400),
    "a query of 10 kB": (line(b"/v1/search?q=" + _LONG), 400),
    "an unknown parameter of 10 kB": (line(b"/v1/movies?" + _LONG + b"=1"), 400),
    "ten thousand parameters": (line(b"/v1/movies?" + b"&".join([b"a=1"] * 10_000)), 400),
    "an unknown method": (line(b"/v1/movies", b"BREW"), 405),
    "an unknown method of a movie": (line(b"/v1/movies/1", b"TRACE"), 405),
    "an unknown method nowhere": (line(b"/v1/nothing", b"PROPFIND"), 404),
    "a limit without measure": (line(b"/v1/movies?limit=" + _HUGE_NUMBER), 400),
    "a limit below nothing": (line(b"/v1/movies?limit=-1"), 400),
    "a year beyond all years": (line(b"/v1/movies?year_from=" + _HUGE_NUMBER), 400),
    "a number that is none": (line(b"/v1/movies?year_from=NaN"), 400),
    "a rating without end": (line(b"/v1/movies?rating_from=1e999"), 400),
    "a position beyond 64 bits": (line(b"/v1/changes?since=" + _HUGE_NUMBER), 400),
    "digits of another script": (line(b"/v1/movies/%D9%A1"), 400),
    "an id beyond 64 bits": (line(b"/v1/movies/" + _HUGE_NUMBER), 404),
    "a person beyond 64 bits": (line(b"/v1/people/" + _HUGE_NUMBER), 404),
    "a cursor of garbage": (line(b"/v1/movies?cursor=%00%ff"), 400),
    "a body of 10 MB": (
        line(b"/v1/movies", b"POST", _HOST + b"Content-Type: application/json\r\nContent-Length: %d\r\n" % _BODY_BYTES)
        + b" " * _BODY_BYTES,
        413,
    ),
    "a Host of garbage": (line(b"/v1/movies", headers=b"Host: \xff\xfe<script>\r\n"), 400),
    "a Host with a path": (line(b"/v1/movies", headers=b"Host: a/b?c#d\r\n"), 400),
    "a Host of 10 kB": (line(b"/v1/movies", headers=b"Host: " + _LONG + b"\r\n"), 400),
    "two Hosts": (line(b"/v1/movies", headers=_HOST + b"Host: evil.example\r\n"), 400),
    "no Host": (line(b"/v1/movies", headers=b""), 400),
    "an absolute address with two Hosts": (line(b"http://localhost/v1/movies", headers=_HOST + _HOST), 400),
    "a path of 60 kB": (line(b"/v1/movies/" + b"9" * 60_000), 404),
    "a malformed chunk": (line(b"/v1/movies", b"POST", _SIGNED + _CHUNKED) + b'10\r\n{"title": "Whole"\r\nZZ\r\n', 400),
    "chunks without an end": (line(b"/v1/movies", b"POST", _SIGNED + _CHUNKED) + b"2\r\n{}\r\n-1\r\n", 400),
    "a position that is none": (line(b"/v1/movies", headers=_HOST + b"Matinee-Min-Position: abc\r\n"), 400),
    "a file that is written to": (line(b"/static/admin/css/base.css", b"DELETE"), 405),
    "a bearer of garbage": (
        line(b"/v1/movies/1", b"DELETE", _HOST + b"If-Match: *\r\nAuthorization: Bearer \xff\xfe\x80\r\n"),
        401,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_api_cannot_use_is_refused_in_its_one_shape(serving: Server, case: str) -> None:
    request, status = REFUSED[case]

    answer = send(serving, request)

    assert (answer.status, answer.content_type) == (status, "application/problem+json"), answer
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["detail"]


TOLERATED = {
    "NUL in the query": line(b"/v1/search?q=%00"),
    "NUL in a filter": line(b"/v1/movies?genre=a%00b"),
    "ids beyond 64 bits": line(b"/v1/movies?ids=" + _HUGE_NUMBER),
    "an absolute address": line(b"http://localhost/v1/movies"),
    "no Host in HTTP/1.0": b"GET /v1/movies HTTP/1.0\r\n\r\n",
    "an ETag of garbage": line(b"/v1/movies", headers=_HOST + b'If-None-Match: \xff,,"\r\n'),
    "a request id of garbage": line(b"/v1/movies", headers=_HOST + b"X-Request-Id: \xff\r\n"),
    "an origin of garbage": line(b"/v1/movies", headers=_HOST + b"Origin: \xff\r\n"),
    "a forwarded scheme of garbage": line(b"/v1/movies", headers=_HOST + b"X-Forwarded-Proto: \xff\r\n"),
}


@pytest.mark.parametrize("case", TOLERATED)
def test_what_is_odd_and_harmless_is_answered_with_a_list(serving: Server, case: str) -> None:
    answer = send(serving, TOLERATED[case])

    assert (answer.status, answer.content_type) == (200, "application/json"), answer


# Hyper, below the application, refuses these before there is a request: it answers with a status alone.
NO_HTTP = {
    "NUL as it is": b"GET /v1/movies/\x00 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a newline within a header": b"GET /v1/movies HTTP/1.1\r\n" + _HOST + b"X: a\x00b\r\n\r\n",
    "two lengths": line(b"/v1/movies", b"POST", _HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n") + b"xx",
    "a length that is none": line(b"/v1/movies", b"POST", _HOST + b"Content-Length: many\r\n"),
    "no HTTP at all": b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n",
}


@pytest.mark.parametrize("case", NO_HTTP)
def test_what_is_no_http_is_refused_with_400(serving: Server, case: str) -> None:
    answer = send(serving, NO_HTTP[case])

    assert answer.status == 400, answer


PAGES = ["/%zz", "/%ff", "/docs/%00", "/docs/errors/%ff", "/static/%2e%2e%2f%2e%2e%2fetc/passwd", "/static/%00", "/static/%ff"]
PAGES += ["/admin/%ff/", "/admin/%00/", "/admin/login/?next=%ff%00", "/openapi.json?%ff", "/livez?%zz", "//", "/"]


@pytest.mark.parametrize("target", PAGES)
@pytest.mark.parametrize("method", ["GET", "BREW"])
def test_no_other_address_answers_with_a_fault_of_ours(serving: Server, target: str, method: str) -> None:
    answer = send(serving, line(target.encode(), method.encode()))

    assert 200 <= answer.status < 500, answer


def test_the_server_is_as_it_was_after_all_this(serving: Server) -> None:
    for request in [request for request, _ in REFUSED.values()][:12]:
        send(serving, request)

    assert serving.get("/readyz").status_code == 200
    assert '"fault"' not in serving.log.read_text()

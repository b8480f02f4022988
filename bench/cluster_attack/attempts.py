"""Which attempts are made on each port of a cluster, by the role of its node.

Called by __main__.py as the unprivileged user. A new port of a role is a line of _BY_PORT; a port without attempts is reported
as not refused, so that none is forgotten.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.cluster_attack.wire import Answer, grpc, http_request, postgres, redis

_KEY, _WRONG = "matinee-attack", "a wrong password"
_TLS = (False, True)
# Conditions that no node meets, so that a restart that is not refused does nothing.
_RESTART = json.dumps({"role": "replica", "postgres_version": "10.0"})
_CONFIG = json.dumps({_KEY: None})  # removes a setting that does not exist


class Port(NamedTuple):
    """A port of a node, as the topology names it."""

    node: str
    role: str
    kind: str
    number: int


class Attempt(NamedTuple):
    """What was tried on a port, and what came back."""

    port: Port
    tried: str
    answer: Answer


_Try = tuple[str, Callable[[], Answer]]


def attempts(port: Port) -> Iterator[Attempt]:
    """Make every attempt on a port."""
    plan = _BY_PORT.get((port.role, port.kind))
    if plan is None:
        yield Attempt(port, "nothing", Answer("there is no attempt for this port: add one", is_refusal=False))
        return
    for tried, send in plan(port.number):
        yield Attempt(port, tried, send())


def _patroni(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        yield "PATCH /config", lambda tls=tls: http_request(port, "PATCH", "/config", _CONFIG, tls=tls)
        yield "POST /restart", lambda tls=tls: http_request(port, "POST", "/restart", _RESTART, tls=tls)
        yield (
            "PATCH /config, wrong password",
            lambda tls=tls: http_request(port, "PATCH", "/config", _CONFIG, tls=tls, password=_WRONG),
        )


def _etcd(port: int) -> Iterator[_Try]:
    key, every = b64encode(_KEY.encode()).decode(), b64encode(b"\0").decode()
    raw, value = _field(1, _KEY.encode()), _field(2, b"x")
    for tls in _TLS:
        for tried, path, body in (
            ("get of every key", "range", {"key": every, "range_end": every, "limit": 1}),
            ("put", "put", {"key": key, "value": key}),
            ("delete", "deleterange", {"key": key}),
        ):
            yield (
                tried,
                lambda path=path, body=body, tls=tls: http_request(port, "POST", f"/v3/kv/{path}", json.dumps(body), tls=tls),
            )
        for tried, method, message in (
            ("get of every key", "KV/Range", _field(1, b"\0") + _field(2, b"\0") + b"\x18\x01"),
            ("put", "KV/Put", raw + value),
            ("delete", "KV/DeleteRange", raw),
        ):
            yield tried, lambda method=method, message=message, tls=tls: grpc(port, method, message, tls=tls)


def _etcd_peer(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        yield "list of the members", lambda tls=tls: http_request(port, "GET", "/members", tls=tls)


def _redis(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        for words in (
            ("PING",),
            ("SET", _KEY, "x", "PX", "1"),
            ("CONFIG", "GET", "maxmemory"),
            ("AUTH", "default", _WRONG),
        ):
            yield " ".join(words), lambda words=words, tls=tls: redis(port, *words, tls=tls)


def _sentinel(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        for words in (("PING",), ("SENTINEL", "MASTERS"), ("CONFIG", "GET", "dir")):
            yield " ".join(words), lambda words=words, tls=tls: redis(port, *words, tls=tls)


def _postgres(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        yield "postgres without a password", lambda tls=tls: postgres(port, "postgres", None, tls=tls)
        for user in ("postgres", "matinee_writer"):
            yield f"{user}, wrong password", lambda user=user, tls=tls: postgres(port, user, _WRONG, tls=tls)
        yield (
            "replication without a password",
            lambda tls=tls: postgres(port, "replicator", None, tls=tls, replication=True),
        )


def _statistics(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        for path in ("/", "/metrics"):
            yield f"GET {path}", lambda path=path, tls=tls: http_request(port, "GET", path, tls=tls)
        yield "GET /, wrong password", lambda tls=tls: http_request(port, "GET", "/", tls=tls, password=_WRONG)


def _service(port: int) -> Iterator[_Try]:
    for tls in _TLS:
        yield "a write without a key", lambda tls=tls: http_request(port, "POST", "/v1/movies", '{"title": "x"}', tls=tls)


def _balancer(port: int) -> Iterator[_Try]:
    yield from _service(port)
    for tls in _TLS:
        yield "GET /metrics", lambda tls=tls: http_request(port, "GET", "/metrics", tls=tls)


_BY_PORT: dict[tuple[str, str], Callable[[int], Iterator[_Try]]] = {
    ("balancer", "port"): _balancer,
    ("balancer", "stats_port"): _statistics,
    ("server", "port"): _service,
    ("front", "port"): _postgres,
    ("front", "redis_port"): _redis,
    ("front", "stats_port"): _statistics,
    ("database", "port"): _postgres,
    ("database", "rest_port"): _patroni,
    ("etcd", "port"): _etcd,
    ("etcd", "peer_port"): _etcd_peer,
    ("redis", "port"): _redis,
    ("sentinel", "port"): _sentinel,
}


def _field(number: int, content: bytes) -> bytes:
    """Return a field of bytes as Protocol Buffers write it."""
    return bytes([number << 3 | 2, len(content)]) + content

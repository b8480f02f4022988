"""Limit the requests of each client address and each API key. Called by the front for every request that is no local hit.

A request with a valid key counts on the key, all others on the client's address, which a trusted proxy may report (client.py).
With IPv6 that is the /64 network, and the /48 network around it as well, with a larger limit. Costs are weighted. /livez and
/readyz are never limited. With Redis, all processes count together (limit_sharing.py); without, each process counts alone.
This module must never wait for Redis on a request's path, and must never let an error of a look-up fail a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import structlog

from matinee import background
from matinee.cache.single_flight import SingleFlight
from matinee.errors import MatineeError, TooManyRequests
from matinee.http.answers import Headers
from matinee.http.client import client_address, client_group, client_site
from matinee.http.limit_sharing import Sharing
from matinee.http.metrics import RATE_LIMITED
from matinee.http.rate_limit import Buckets, Policy
from matinee.read.catalogue import key_digest
from matinee.runtime import Runtime
from matinee.storage.asking import Asking
from matinee.storage.reader import KeyRow

T = TypeVar("T")
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Discard = Callable[[int], Awaitable[None]]
Counted = tuple[str, Policy]
KEY_REFRESH_S = 5.0  # how long a key's row is used before it is read again: a changed quota takes effect so soon
_UNKNOWN_REFRESH_S = 1.0  # a key that was just made may not have reached the copy that was asked
_FAILED_REFRESH_S = 1.0  # when nothing could be read: a request in each second tries again, and waits for nothing
_UNKNOWN: tuple[KeyRow | None, float] = (None, 0.0)
_MAX_KEYS, _MAX_KEY_CHARS = 2_000, 200
_SITE_CLIENTS = 16  # an IPv6 /48 network may use as much as so many clients; it has room for 65,536
_CLIENT_WINDOW_S, _KEY_WINDOW_S = 10, 60
_UNLIMITED = frozenset(("/livez", "/readyz"))  # /metrics of the health listener has no client to count on
_SUBJECTS = {"client": "address", "site": "IPv6 /48 network", "key": "key"}
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_READ_COST, _WRITE_COST = 1, 5
_EXPENSIVE_COST, _REFUSED_KEY_COST = 10, 10  # on top
_DISCARD_BYTES = 2**20  # of a refused request's body; the connection can be used again only when the body has been read
KEY_REFUSED = "matinee.key_refused"  # stands in a request's scope when its key was refused
log = structlog.get_logger("matinee.http")


class Limits:
    """The limits of one process, as something that stands around the application."""

    def __init__(self, runtime: Runtime, clock: Callable[[], float] = time.monotonic) -> None:
        self._runtime, self._config, self._clock = runtime, runtime.config, clock
        self.buckets = Buckets()
        self._client = _policy("client", self._config.client_rate_per_s, _CLIENT_WINDOW_S)
        self._site = _policy("site", _SITE_CLIENTS * self._config.client_rate_per_s, _CLIENT_WINDOW_S)
        self._key = _policy("key", self._config.key_rate_per_s, _KEY_WINDOW_S)
        self._keys: dict[str, tuple[KeyRow | None, float]] = {}  # by digest; each with when it is to be read again
        self._sharing = Sharing(self.buckets, runtime.totals, clock)
        self._look_ups: SingleFlight[KeyRow | None] = SingleFlight()
        self._background: set[asyncio.Task[Any]] = set()
        self._has_warned = False

    def start(self) -> None:
        """Begin to share with other processes; called on the event loop."""
        if not self._sharing.is_null:
            self._background.add(asyncio.create_task(background.keep_going("limits", self._sharing.run)))

    async def close(self) -> None:
        """End the sharing."""
        await background.end(self._background)
        await self._runtime.totals.close()

    def around(self, app: AsgiApp, scope: Any, discard: Discard) -> AsgiApp:
        """Return the application with the limits around it that hold for a request; the application itself when none does.

        `discard` reads at most so much of a refused request's body.
        """
        address = client_address(scope, self._config.trusted_proxies)
        scope["matinee.asking"] = Asking(client_site(address))
        digest = _digest_of(scope)
        # A key may have a quota of its own where nothing else is limited.
        if scope["path"] in _UNLIMITED or (self._client is None and not digest):
            return app
        return partial(self._run, app, discard, digest, address)

    async def _run(
        self, app: AsgiApp, discard: Discard, digest: str, address: str, scope: Any, receive: Any, send: Any
    ) -> None:
        """Answer a request within the limits. Raises: TooManyRequests."""
        asking: Asking = scope["matinee.asking"]
        counted = await self._counted(digest, address) if digest else self._of_client(address)
        if counted and (error := self._take(scope, counted)) is not None:
            await discard(_DISCARD_BYTES)
            raise error
        try:
            await app(scope, receive, send)
        finally:
            more = asking.expensive * _EXPENSIVE_COST + (_REFUSED_KEY_COST if KEY_REFUSED in scope else 0)
            self._charge(counted, more)

    async def charged(self, scope: Any, load: Callable[[Asking], Awaitable[T]]) -> T:
        """Return what a load returns that a request has caused beside its answer; its client pays for expensive reads."""
        address = client_address(scope, self._config.trusted_proxies)
        asking, (row, _) = Asking(client_site(address)), self._keys.get(_digest_of(scope), _UNKNOWN)
        counted = self._policies_of(row, address)  # by a key that is known: no statement is worth it
        try:
            return await load(asking)
        finally:
            self._charge(counted, asking.expensive * _EXPENSIVE_COST)

    def _charge(self, counted: list[Counted], cost: int) -> None:
        for subject, policy in counted if cost else ():
            self.buckets.charge(subject, cost, policy, self._clock())
            self._sharing.used(subject, policy, cost)

    def _take(self, scope: Any, counted: list[Counted]) -> TooManyRequests | None:
        """Take a request's cost, and add the headers of the first limit; return the refusal of the one that has less left."""
        cost = _READ_COST if scope["method"] in _READS else _WRITE_COST
        headers: Headers = []
        for subject, policy in counted:
            taken = self.buckets.take(subject, cost, policy, self._clock())
            if not headers or not taken.is_allowed:
                headers = [(b"ratelimit-policy", policy.header), (b"ratelimit", taken.header(policy))]
            if not taken.is_allowed:
                scope["matinee.headers"] += headers
                return self._refusal(scope, policy, taken.retry_after_s)
            self._sharing.used(subject, policy, min(cost, policy.quota))
        scope["matinee.headers"] += headers
        return None

    def _refusal(self, scope: Any, policy: Policy, wait_s: int) -> TooManyRequests:
        RATE_LIMITED.labels(policy.name).inc()
        self._warn_of_proxy(scope)
        used = f"This {_SUBJECTS[policy.name]} has used its {policy.quota} requests of {policy.window_s} s"
        return TooManyRequests(f"{used}; wait {wait_s} s, then send fewer.", retry_after_s=wait_s)

    async def _counted(self, digest: str, address: str) -> list[Counted]:
        """Return what a request with a key counts on, and the limits; nothing when nothing limits it."""
        return self._policies_of(await self._row(digest, self._of_client(address)), address)

    def _policies_of(self, row: KeyRow | None, address: str) -> list[Counted]:
        if row is not None:
            policy = self._key if row.quota is None else _policy("key", row.quota / _KEY_WINDOW_S, _KEY_WINDOW_S)
            return [] if policy is None else [(f"key:{row.id}", policy)]
        return self._of_client(address)

    def _of_client(self, address: str) -> list[Counted]:
        if self._client is None or self._site is None or not address:
            return []  # without an address, as over a UNIX socket, all clients would share one bucket
        client, site = client_group(address), client_site(address)
        return [(client, self._client)] if site == client else [(client, self._client), (site, self._site)]

    async def _row(self, digest: str, counted: list[Counted]) -> KeyRow | None:
        """Return the row of a valid key, None for one that is unknown or revoked. Only the first request of a key waits for it.

        Later ones read it again in the background: while the database does not answer, none of them waits for a timeout here.
        """
        now_s = self._clock()
        if digest in self._keys:
            row, until_s = self._keys[digest]
            if now_s >= until_s:
                self._look_up_later(digest)
            return row
        # To look an unknown key up costs a query, which a client without requests left does not get.
        if not self._has_left(counted, now_s):
            return None
        return await self._look_ups.do(digest, lambda: self._look_up(digest))

    def _look_up_later(self, digest: str) -> None:
        if not self._look_ups.is_under_way(digest):
            task = asyncio.create_task(self._look_ups.do(digest, lambda: self._look_up(digest)))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _look_up(self, digest: str) -> KeyRow | None:
        """Read the row of a key and remember it. When nothing can be read, the row from before is used for a while longer."""
        try:
            row = await self._runtime.catalogue.key(digest)
            refresh_s = _UNKNOWN_REFRESH_S if row is None else KEY_REFRESH_S
        except MatineeError:
            row, refresh_s = self._keys.get(digest, _UNKNOWN)[0], _FAILED_REFRESH_S
        self._keys.pop(digest, None)
        if len(self._keys) >= _MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self._keys[digest] = row, self._clock() + refresh_s
        return row

    def _has_left(self, counted: list[Counted], now_s: float) -> bool:
        return all(self.buckets.take(subject, _READ_COST, policy, now_s).is_allowed for subject, policy in counted)

    def _warn_of_proxy(self, scope: Any) -> None:
        """Log once that a proxy may be in front whose clients cannot be told apart."""
        if not self._has_warned and any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            self._has_warned = True
            peer = (scope.get("client") or ("",))[0]
            log.warning(
                "clients of a proxy may share one limit", peer=peer, remedy="set MATINEE_TRUSTED_PROXIES if it is yours"
            )


def _policy(name: str, per_s: float, window_s: int) -> Policy | None:
    return Policy(name, max(1, round(per_s * window_s)), window_s) if per_s else None


def _digest_of(scope: Any) -> str:
    """Return the digest of an Authorization header's key, empty when there is none, or one that is too long to be a key."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer " and len(value) <= _MAX_KEY_CHARS:
            key = value[7:].strip().decode("latin-1")
            return key_digest(key) if key else ""
    return ""

"""Redis 7, or Valkey, as the shared tier's server, through redis-py's connections and hiredis. Made by shared.py.

Connections are used without redis-py's client around them: its pool, retries and callbacks cost more than the round trip.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import hiredis
from redis.asyncio.connection import Connection, RedisSSLContext, SSLConnection, parse_url
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from matinee.cache.link import Driver, Entry, Found, Lease, LinkFailed, one_line
from matinee.config import without_password
from matinee.errors import ConfigError

PREFIX = b"matinee:"
_MOST_VALUE_BYTES = 4 * 2**20
_Command = tuple[str | bytes | int, ...]
_READ_SIZE_BYTES = 2**18  # a tick's values in one piece, mostly


class RedisLink:
    """One connection to Redis."""

    def __init__(self, url: str) -> None:
        self._connection = _connection(url)

    async def read(self, keys: Sequence[str], leases: Sequence[Lease]) -> Found:
        """Return the values of keys and who gets which lease. Raises: LinkFailed."""
        commands: list[_Command] = [("MGET", *map(_key, keys))] if keys else []
        commands += [("SET", _key(lease.key), b"1", "NX", "PX", lease.ttl_ms) for lease in leases]
        try:
            replies = await self._exchange(commands)
        except RedisError as error:
            raise _failure(error) from error
        values = replies.pop(0) if keys else []
        if isinstance(values, ResponseError):
            raise LinkFailed(_words(values))
        if not _are_values(values, len(keys)):
            await self.close()
            raise LinkFailed("it answers what was not asked")
        # A full or read-only server refuses leases. Whoever asks is to load the value then.
        return Found(values, [reply is not None for reply in replies])

    async def write(self, writes: Mapping[str, Entry | None]) -> str | None:
        """Keep and forget values; return why some were refused. Raises: LinkFailed."""
        commands: list[_Command] = [
            ("DEL", _key(key)) if entry is None else ("SET", _key(key), entry.value, "EX", entry.ttl_s)
            for key, entry in writes.items()
        ]
        try:
            replies = await self._exchange(commands)
        except RedisError as error:
            raise _failure(error) from error
        return next((_words(reply) for reply in replies if isinstance(reply, ResponseError)), None)

    async def ask(self, *words: str) -> Any:
        """Return the answer to any command. Raises: LinkFailed."""
        try:
            (reply,) = await self._exchange([words])
        except RedisError as error:
            raise _failure(error) from error
        if isinstance(reply, ResponseError):
            raise LinkFailed(_words(reply))
        return reply

    async def add(self, amounts: Sequence[tuple[str, int, int]]) -> list[int]:
        """Add to numbers (key, amount, seconds to keep it) in one round trip; return what they are then.

        A key that holds no number was planted: its total is this amount, so the others still count. Raises: LinkFailed.
        """
        commands: list[_Command] = []
        for key, amount, ttl_s in amounts:
            commands += [("INCRBY", _key(key), amount), ("EXPIRE", _key(key), ttl_s)]
        try:
            replies = await self._exchange(commands)
        except RedisError as error:
            raise _failure(error) from error
        refused = [_words(reply) for reply in replies if isinstance(reply, ResponseError)]
        added = replies[::2]
        if refused and not any(isinstance(reply, int) for reply in added):
            raise LinkFailed(refused[0])
        return [reply if isinstance(reply, int) else amount for reply, (_, amount, _) in zip(added, amounts, strict=True)]

    async def close(self) -> None:
        """Drop the connection."""
        await self._connection.disconnect(nowait=True)

    async def _exchange(self, commands: Sequence[_Command]) -> list[Any]:
        """Return the replies, refusals among them; whatever ends this early drops the connection with what is unread."""
        connection = self._connection
        try:
            if connection.is_connected and await connection.can_read():
                await connection.disconnect(nowait=True)  # the server has closed it while nothing was asked
            packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type] # its stub is wrong
            await connection.send_packed_command(packed)  # opens the connection where there is none
            return [await self._reply() for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as refusal:
            return refusal


def redis_driver(url: str) -> Driver:
    """Return the driver of a server. Raises: ConfigError."""
    address = without_password(url)
    try:
        _connection(url)
    except (ValueError, TypeError, OSError, RedisError) as error:
        raise ConfigError(f"REDIS_URL={address} cannot be used ({one_line(error)}).") from error
    return Driver("redis", "REDIS_URL", address, lambda: RedisLink(url), lambda _key: True, _MOST_VALUE_BYTES)


@dataclass(frozen=True)
class RedisFacts:
    """What a server says of itself."""

    version: str
    used_bytes: int
    most_bytes: int  # 0 is no limit
    policy: str
    lfu_decay_minutes: int | None  # None when it may not be asked
    is_cluster: bool


async def facts(url: str) -> RedisFacts:
    """Return what a server says of itself. Raises: LinkFailed."""
    link = RedisLink(url)
    try:
        lines = (await link.ask("INFO")).decode(errors="replace").splitlines()
        stated = dict(line.split(":", 1) for line in lines if ":" in line)
        try:
            decay = dict(zip(*[iter(await link.ask("CONFIG", "GET", "lfu-decay-time"))] * 2, strict=True))
        except LinkFailed:  # those who rent a server out forbid this
            decay = {}
    finally:
        await link.close()
    return RedisFacts(
        stated.get("valkey_version") or stated.get("redis_version", "?"),
        int(stated.get("used_memory", 0)),
        int(stated.get("maxmemory", 0)),
        stated.get("maxmemory_policy", "?"),
        int(decay[b"lfu-decay-time"]) if decay else None,
        stated.get("cluster_enabled") == "1",
    )


def _connection(url: str) -> Connection:
    stated: dict[str, Any] = dict(parse_url(url))
    kind = stated.pop("connection_class", Connection)
    ours = {
        "client_name": "matinee",
        "protocol": 2,  # as fast as 3, and one round trip less to connect
        "driver_info": None,
        "decode_responses": False,
        "socket_read_size": _READ_SIZE_BYTES,
        # The deadline is kept by exchange.py; redis-py's own would cost a task for each round trip.
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }
    connection: Connection = kind(**{**stated, **ours})
    if isinstance(connection, SSLConnection) and connection.ca_certs:
        connection.ssl_context.context = _context_of(connection.ssl_context)
    return connection


def _context_of(stated: RedisSSLContext) -> ssl.SSLContext:
    """Return what verifies a server by the CAs that are stated, and by no others.

    redis-py would trust the system's CAs beside them, and reads those for each connection: 50 ms in which nobody is answered.
    """
    own = stated.certfile, stated.keyfile
    return _context(stated.ca_certs, *own, stated.check_hostname, stated.cert_reqs, stated.min_version)


@lru_cache(maxsize=8)
def _context(
    authorities: str, certificate: str | None, key: str | None, checks_name: bool, verifies: Any, least: Any
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities)
    context.check_hostname = checks_name
    context.verify_mode = verifies
    context.minimum_version = least or ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _key(key: str) -> bytes:
    return PREFIX + key.encode(errors="surrogatepass")


def _are_values(found: Any, count: int) -> bool:
    return isinstance(found, list) and len(found) == count and all(item is None or isinstance(item, bytes) for item in found)


def _failure(error: RedisError) -> LinkFailed:
    words = _words(error)
    return LinkFailed(f"it refuses the user or password ({words})" if isinstance(error, AuthenticationError) else words)


def _words(error: RedisError) -> str:
    """Return the server's words with the code before them, which redis-py takes off."""
    code = getattr(error, "status_code", None) or ""
    return f"{code} {one_line(error)}".strip()

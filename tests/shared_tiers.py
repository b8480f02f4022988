"""Real servers of the shared tier for the tests: Redis and memcached on a free port of loopback, and what breaks them."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from matinee.cache.shared import SharedTier
from matinee.ops.processes import free_port
from tests.processes import end, eventually, freeze

T = TypeVar("T")


class TierServer:
    """A server process that can be killed, frozen and started again on its port."""

    name = ""
    setting = ""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, list(options)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its address, as a setting has it."""
        return f"{self.name}://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / f"{self.name}-{self.port}.log").open("ab") as output:
            self.process = subprocess.Popen(self.command(), stdout=output, stderr=output, cwd=self.folder)
        eventually(self.answers, bool)

    def kill(self) -> None:
        """End it as a crash does."""
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(5)

    def freeze(self) -> None:
        """Make it accept connections and never answer."""
        assert self.process is not None
        freeze(self.process.pid)

    def go_on(self) -> None:
        """Let a frozen one go on."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def end(self) -> None:
        """End it, also when it is frozen."""
        if self.process is not None:
            if self.process.poll() is None:
                self.go_on()
            end(self.process)

    def say(self, *words: str) -> bytes:
        """Send one command of its text protocol and return what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(2**20)

    def answers(self) -> bool:
        """Return whether it takes commands."""
        try:
            return self.say("PING") != b""
        except OSError:
            return False

    def flush(self) -> None:
        """Make it forget everything."""
        raise NotImplementedError

    def questions(self) -> int:
        """Return how many round trips of reads it has answered."""
        raise NotImplementedError


class RedisServer(TierServer):
    """redis-server, with nothing on disk."""

    name, setting = "redis", "REDIS_URL"

    def command(self) -> list[str]:
        """Return what starts it; options may say the opposite."""
        memory_only = ["--save", "", "--appendonly", "no"]
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), *memory_only, *self.options]

    def flush(self) -> None:
        """Make it forget everything."""
        assert self.say("FLUSHALL") == b"+OK\r\n"

    def counted(self, section: str, name: str) -> int:
        """Return one of the numbers that it says of itself."""
        return int(self.say("INFO", section).partition(f"\n{name}:".encode())[2].split(b"\r")[0])

    def questions(self) -> int:
        """Return how many MGETs it has answered."""
        _, _, counted = self.say("INFO commandstats").partition(b"cmdstat_mget:calls=")
        return int(counted.split(b",")[0] or 0)


class MemcachedServer(TierServer):
    """memcached."""

    name, setting = "memcached", "MEMCACHED_URL"

    def command(self) -> list[str]:
        """Return what starts it."""
        user = pwd.getpwuid(os.getuid()).pw_name
        return ["memcached", "-u", user, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *self.options]

    def flush(self) -> None:
        """Make it forget everything."""
        assert self.say("flush_all") == b"OK\r\n"

    def questions(self) -> int:
        """Return how many keys it was asked for; it does not count round trips."""
        return int(self.say("stats").partition(b"STAT cmd_get ")[2].split(b"\r\n")[0])


SERVERS: dict[str, type[TierServer]] = {"redis": RedisServer, "memcached": MemcachedServer}


@contextmanager
def running(kind: type[TierServer], folder: Path, *options: str) -> Iterator[TierServer]:
    """Start a server and end it afterwards."""
    server = kind(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.end()


def played(tier: SharedTier, scenario: Callable[[SharedTier], Awaitable[T]]) -> T:
    """Play a scenario with a tier, on a loop of its own, and close the tier."""

    async def play() -> T:
        try:
            return await scenario(tier)
        finally:
            await tier.close()

    return asyncio.run(play())


async def comes(look: Callable[[], Awaitable[T]], expected: Callable[[T], bool], deadline_s: float = 10.0) -> T:
    """Return what is looked at as soon as it is as expected, without holding up the loop; fail at the deadline."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + deadline_s
    while not expected(seen := await look()):
        assert loop.time() < ends_s, f"after {deadline_s} s it is still {seen!r}"
        await asyncio.sleep(0.01)
    return seen


async def well(tier: SharedTier) -> None:
    """Wait until a tier has no trouble."""

    async def look() -> Any:
        return tier.trouble()

    await comes(look, lambda trouble: trouble is None)

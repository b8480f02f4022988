"""What is done to those who keep something or write something, while a crowd reads: a Redis is harmed, writers are killed.

Called by test_coherence.py. Everything happens by a seed.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.cluster import killed_writer
from tests.cluster.history import Acknowledged
from tests.shared_tiers import RedisServer


class Harm:
    """What happens to a Redis, by a seed: flushed, frozen and thawed, replaced by what it held a while ago."""

    def __init__(self, redis: RedisServer, room_bytes: int, seed: int) -> None:
        """`room_bytes` is what it may hold, beyond what it takes when it is empty."""
        self._redis, self._chance = redis, random.Random(seed)
        self._dump, self._older = redis.folder / "dump.rdb", redis.folder / "older.rdb"
        self.done = {"flushed": 0, "frozen": 0, "restored": 0}
        self._evictions = -redis.counted("stats", "evicted_keys")
        redis.flush()
        self._limit(redis.counted("memory", "used_memory") + room_bytes)
        self._save()
        shutil.copy(self._dump, self._older)

    def do(self) -> None:
        """Do one of them, after a pause."""
        threading.Event().wait(self._chance.uniform(0.5, 3.0))
        name = self._chance.choice(list(self.done))
        self.done[name] += 1
        if name == "flushed":
            self._redis.flush()
        elif name == "frozen":
            self._redis.freeze()
            threading.Event().wait(self._chance.uniform(0.05, 0.8))
            self._redis.go_on()
        else:
            self._restore()

    def end(self) -> dict[str, int]:
        """Let it hold all that comes from now on; return how often each was done, and how often it had no room."""
        figures = {**self.done, "shared evictions": self._evictions + self._redis.counted("stats", "evicted_keys")}
        self._limit(0)
        return figures

    def _limit(self, most_bytes: int) -> None:
        self._redis.options += ["--maxmemory", str(most_bytes)]  # for when it is started again
        assert self._redis.say("CONFIG SET maxmemory", str(most_bytes)) == b"+OK\r\n"

    def _save(self) -> None:
        assert self._redis.say("SAVE") == b"+OK\r\n"

    def _restore(self) -> None:
        """Start it with what it held at the restoration before this one, and save what it holds now for the next one."""
        self._save()
        self._evictions += self._redis.counted("stats", "evicted_keys")
        self._redis.kill()
        newer = self._dump.read_bytes()
        shutil.copy(self._older, self._dump)
        self._redis.start()
        self._older.write_bytes(newer)


@contextmanager
def killed_writers(variables: dict[str, str], movies: int, seed: int) -> Iterator[list[Acknowledged]]:
    """Let processes write that are killed again and again, one after another; return what they were told is done."""
    told: list[Acknowledged] = []
    words = [sys.executable, killed_writer.__file__, str(seed), str(movies)]
    process = subprocess.Popen(words, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None

    def listen(lines: Iterable[bytes]) -> None:
        told.extend(Acknowledged(*json.loads(line)) for line in lines)

    listener = threading.Thread(target=listen, args=(process.stdout,), daemon=True)
    listener.start()
    try:
        yield told
    finally:
        process.stdin.close()
        process.wait(10)
        listener.join(10)
        process.stdout.close()

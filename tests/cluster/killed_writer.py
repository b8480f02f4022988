"""Writers that are killed with -9 again and again: `python killed_writer.py SEED MOVIES` over the catalogue of MATINEE_HOME.

One after another is forked off. Each changes movies until it kills itself just after a commit, before anybody hears of it, or
is killed wherever it happens to be. What was acknowledged is printed, a line of JSON for each: position and moment. All ends
with standard input.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import threading
import time

from matinee import runtime

_PAUSE_S = 0.03
_LONGEST_LIFE_S = 2.0
_DIES_AFTER_COMMIT_SHARE = 0.1


def write_until_killed(chance: random.Random, movies: int) -> None:
    """Change movies; now and then, die between the commit and its acknowledgement."""
    from matinee.storage import leader_link
    from matinee.write import movies as writes  # loaded by `main` already

    def committed(position: int) -> None:
        if chance.random() < _DIES_AFTER_COMMIT_SHARE:
            os.kill(os.getpid(), signal.SIGKILL)

    leader_link.note_written = committed  # type: ignore[assignment]  # the first thing that happens after a commit
    while True:
        changes = {"runtime_min": chance.randrange(1, 100_000), "tagline": f"Process {os.getpid()}"}
        written = writes.patch(chance.randrange(movies) + 1, changes, "killed", None)
        line = json.dumps([time.monotonic(), written.position]) + "\n"
        os.write(sys.stdout.fileno(), line.encode())
        threading.Event().wait(chance.random() * 2 * _PAUSE_S)


def main(seed: int, movies: int) -> None:
    runtime.setup_django()
    import matinee.write.movies  # noqa: F401  before the forks, so that a life is spent on writing

    chance = random.Random(seed)
    is_ended = False
    while not is_ended:
        child_seed = chance.random()
        child = os.fork()
        if child == 0:
            write_until_killed(random.Random(child_seed), movies)
        is_ended = bool(select.select([sys.stdin], [], [], chance.random() * _LONGEST_LIFE_S)[0])
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

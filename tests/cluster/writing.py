"""A writing process: `python writing.py NAME SEED WRITES` over the catalogue of MATINEE_HOME.

Each write takes its position, pauses, and then commits or is rolled back, as the seed has it. At the end it prints the
positions that it has committed, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import threading

from matinee import runtime

ROLLED_BACK = "rolled back"
_LONGEST_PAUSE_S = 0.02
_ROLLED_BACK_SHARE = 0.25


class _Never(Exception):
    pass


def _write(leader: object, name: str, number: int, chance: random.Random) -> list[int]:
    from matinee.domain.movie import parse_content
    from matinee.write import movies

    lost = chance.random() < _ROLLED_BACK_SHARE
    title = f"{ROLLED_BACK if lost else 'kept'} {name} {number}"
    content = parse_content({"title": title, "year": 2000, "genres": ["Drama"], "directors": [{"name": title}]})
    try:
        with leader.transaction(ROLLED_BACK if lost else name) as work:  # type: ignore[attr-defined]
            document = movies.create_in(work, content)
            threading.Event().wait(chance.uniform(0, _LONGEST_PAUSE_S))
            if lost:
                raise _Never
    except _Never:
        return []
    return [document.position]


def main(name: str, seed: int, writes: int) -> None:
    runtime.setup_django()
    from matinee.storage.writer import Leader

    leader, chance = Leader(), random.Random(seed)
    committed = [position for number in range(writes) for position in _write(leader, name, number, chance)]
    sys.stdout.write(json.dumps(committed))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""A process that dies in its writes: `python dying.py` over the catalogue of MATINEE_HOME.

Forks a child for each statement of a write, which kills itself with -9 just before that statement is sent, until one lives
to the end. Prints, as JSON, how often the title stood in the catalogue after each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from matinee import runtime


def write_and_die_at(statement: int, title: str) -> None:
    """Write a movie; die before the statement of this number."""
    from django.db import connection

    from matinee.domain.movie import parse_content
    from matinee.write import movies

    sent = 0

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)

    people = {"directors": [{"name": title}], "genres": ["Drama", title], "ids": {"imdb": "tt0000001"}}
    with connection.execute_wrapper(count):
        movies.create(parse_content({"title": title, **people}), "dying")


def main() -> None:
    runtime.setup_django()
    from django.db import connection

    from matinee.storage.models import Movie

    seen, statement, lived = [], 0, False
    while not lived:
        statement += 1
        child = os.fork()
        if child == 0:
            write_and_die_at(statement, "The same film")
            os._exit(0)
        lived = os.waitpid(child, 0)[1] == 0
        seen.append(Movie.objects.filter(title="The same film").count())
        connection.close()  # not to be shared with the next child
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()

"""Ask a catalogue questions written as a URL has them, and take the time. Called by paging.py.

A question is the query string of a list; `search ...` and `suggest ...` before it ask those instead.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from matinee import runtime
from matinee.config import Config
from matinee.domain.cursor import CursorSigner
from matinee.domain.query import parse_list, parse_search
from matinee.storage.page_sql import (
    FacetDirectory,
    Statement,
    list_statement,
    people_statement,
    search_statement,
    titles_statement,
)
from matinee.storage.sql import named_queries

_LONGEST_S = 10.0  # what takes a second needs no hundred repetitions to be seen
_FEWEST_TURNS = 4


class Times:
    """How long one question took, each time."""

    def __init__(self, values_s: Iterable[float] = ()) -> None:
        self.values_s = list(values_s)

    @property
    def median_ms(self) -> float:
        """Return the time in the middle."""
        return statistics.median(self.values_s) * 1000

    @property
    def p99_ms(self) -> float:
        """Return the time that one of a hundred exceeds."""
        return sorted(self.values_s)[max(0, -(-len(self.values_s) * 99 // 100) - 1)] * 1000

    @classmethod
    def joined(cls, several: Iterable[Times]) -> Times:
        """Return the times of several questions as those of one kind."""
        return cls(value_s for times in several for value_s in times.values_s)


def ms(value: float) -> str:
    """Return milliseconds as text."""
    return f"{value:.3f}" if value < 10 else f"{value:,.1f}"


class Asker:
    """One process's catalogue, and a connection beside it to look things up."""

    def __init__(self, config: Config) -> None:
        self._catalogue = runtime.build(config).catalogue
        self._signer = CursorSigner(config.secret_key or "unsigned")
        self._path = config.database_path
        self._directory = FacetDirectory.of(self.reader().execute(named_queries()["facets"]))

    def reader(self) -> sqlite3.Connection:
        """Return a connection that cannot write."""
        return sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)

    def after(self, question: str, depth: int) -> str:
        """Return the question of the page that comes after so many movies of a list."""
        query = parse_list(parse_qsl(question))
        statement = list_statement(query, None, self._directory)
        assert statement is not None, question
        text = f"SELECT sort_key, movie_id FROM ({statement.text}) LIMIT 1 OFFSET {depth - 1}"
        key = self.reader().execute(text, {**statement.values, "limit": depth}).fetchone()
        return f"{question}&cursor={self._signer.make(query.digest(), key)}"

    async def in_turns(self, questions: Sequence[str], repeat: int) -> dict[str, Times]:
        """Ask the questions in turns, each so often, or for so long; the first turn only warms up."""
        end_s = time.perf_counter() + _LONGEST_S
        asks = {question: self._ask(question) for question in questions}
        times = {question: Times() for question in questions}
        for turn in range(repeat + 1):
            if turn >= _FEWEST_TURNS and time.perf_counter() > end_s:
                break
            for question, ask in asks.items():
                began_s = time.perf_counter()
                await ask()
                if turn:
                    times[question].values_s.append(time.perf_counter() - began_s)
        return times

    def _ask(self, question: str) -> Callable[[], Awaitable[Any]]:
        kind, text = _parts(question)
        catalogue, pairs = self._catalogue, parse_qsl(text)
        if kind == "search":
            return lambda: catalogue.search(parse_search(pairs))
        if kind == "suggest":
            return lambda: catalogue.suggest(dict(pairs)["q"])
        return lambda: catalogue.movies(parse_list(pairs))

    def explained(self, question: str) -> dict[str, str]:
        """Return a question's SQL and the plan that SQLite makes of it."""
        texts, plans = [], []
        for statement in self._statements(question):
            texts.append(f"{statement.text}\n{statement.values}")
            rows = self.reader().execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.values)
            plans += [f"  {row[3]}" for row in rows]
        return {"question": question, "sql": "\n".join(texts), "plan": "\n".join(plans)}

    def _statements(self, question: str) -> list[Statement]:
        kind, text = _parts(question)
        pairs = parse_qsl(text)
        if kind == "suggest":
            q = dict(pairs)["q"]
            found = [titles_statement(q, 10), people_statement(q, 10)]
        elif kind == "search":
            query = parse_search(pairs)
            found = [search_statement(query, self._signer.read(query.digest(), query.cursor), self._directory)]
        else:
            asked = parse_list(pairs)
            found = [list_statement(asked, self._signer.read(asked.digest(), asked.cursor), self._directory)]
        return [statement for statement in found if statement is not None]


def _parts(question: str) -> tuple[str, str]:
    kind, blank, text = question.partition(" ")
    return (kind, text) if blank else ("list", question)

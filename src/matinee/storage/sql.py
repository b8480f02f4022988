"""Read the named SQL of queries/. Called by the readers when they start; the files are part of the package.

A statement begins with `-- name: NAME`, then one comment line that says what it answers, then its text. What every engine
understands lies in queries/ itself, what only one of them does in the folder of its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from matinee.storage.asking import Asking

Engine = Literal["sqlite", "postgresql"]
ENGINES: tuple[Engine, ...] = ("sqlite", "postgresql")

_NAME = re.compile(r"^-- name: (\w+)\n-- (.+)\n", re.MULTILINE)


@dataclass
class Statement:
    """SQL with named places, and what stands in them.

    `is_steady` says that one plan is good for all values; otherwise the engine looks at the values before it plans.
    `shape` names what its cost depends on beside the values, for expensive_reads.py; empty: it is cheap for all values.
    `asking` is the client that takes a place there when it is expensive.
    """

    text: str
    values: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    is_steady: bool = True
    shape: str = ""
    asking: Asking | None = None


@cache
def named_queries(engine: Engine = "sqlite") -> dict[str, str]:
    """Return every named statement's text for an engine."""
    return {name: text for name, (_, text) in described_queries(engine).items()}


@cache
def described_queries(engine: Engine = "sqlite") -> dict[str, tuple[str, str]]:
    """Return every named statement's sentence and text for an engine.

    Raises: ValueError when a name stands twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for file_name, content in _files(engine):
        parts = _NAME.split(content)[1:]
        for name, sentence, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in found:
                raise ValueError(f"{file_name}: the name {name} stands twice")
            found[name] = (sentence, text.strip())
    return found


def _files(engine: Engine) -> Iterator[tuple[str, str]]:
    folder = resources.files("matinee.storage") / "queries"
    for place in (folder, folder / engine):
        for file in sorted(place.iterdir(), key=lambda item: item.name):
            if file.name.endswith(".sql"):
                yield file.name, file.read_text(encoding="utf-8")

"""Read the named SQL of queries/*.sql. Called by the readers when they start; the files are part of the package.

A statement begins with `-- name: NAME`, then one comment line that says what it answers, then its text.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n-- (.+)\n", re.MULTILINE)


@cache
def named_queries() -> dict[str, str]:
    """Return every named statement's text."""
    return {name: text for name, (_, text) in described_queries().items()}


@cache
def described_queries() -> dict[str, tuple[str, str]]:
    """Return every named statement's sentence and text.

    Raises: ValueError when a name stands twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for file in sorted((resources.files("matinee.storage") / "queries").iterdir(), key=lambda item: item.name):
        parts = _NAME.split(file.read_text())[1:]
        for name, sentence, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in found:
                raise ValueError(f"{file.name}: the name {name} stands twice")
            found[name] = (sentence, text.strip())
    return found

"""The named SQL: each statement has a name of its own and a sentence, and none of them counts rows to skip."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from matinee.storage.sql import described_queries, named_queries

FILES = {file.name: file.read_text() for file in (resources.files("matinee.storage") / "queries").iterdir()}


def test_every_statement_in_the_files_is_read_once() -> None:
    names = [name for text in FILES.values() for name in re.findall(r"^-- *name: *(\S+)", text, re.MULTILINE)]

    assert names
    assert sorted(names) == sorted(named_queries())


@pytest.mark.parametrize("name", sorted(named_queries()))
def test_a_statement_has_a_sentence_and_a_text(name: str) -> None:
    sentence, text = described_queries()[name]

    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert text
    assert named_queries()[name] == text


@pytest.mark.parametrize("file", sorted(FILES))
def test_no_statement_skips_rows_by_counting_them(file: str) -> None:
    text = re.sub(r"--.*", "", FILES[file])

    assert not re.search(r"\boffset\b", text, re.IGNORECASE)


def test_the_files_hold_nothing_but_sql() -> None:
    assert {name.rpartition(".")[2] for name in FILES} == {"sql"}

"""The named SQL: each statement has a name of its own and a sentence, and none of them counts rows to skip."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from matinee.storage.sql import ENGINES, Engine, described_queries, named_queries

FOLDER = resources.files("matinee.storage") / "queries"
FOLDERS = {"": FOLDER, **{engine: FOLDER / engine for engine in ENGINES}}
FILES = {
    f"{name}/{file.name}": file.read_text() for name, folder in FOLDERS.items() for file in folder.iterdir() if file.is_file()
}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_statement_in_the_files_of_an_engine_is_read_once(engine: Engine) -> None:
    texts = [text for path, text in FILES.items() if path.split("/")[0] in ("", engine)]
    names = [name for text in texts for name in re.findall(r"^-- *name: *(\S+)", text, re.MULTILINE)]

    assert names
    assert sorted(names) == sorted(named_queries(engine))


def test_every_engine_answers_the_same_questions() -> None:
    about_servers = FILES["postgresql/watch.sql"] + FILES["postgresql/report.sql"]
    own = {*re.findall(r"^-- name: (\S+)", about_servers, re.MULTILINE), "page_by_bounds"}  # the last is another way to a page

    assert named_queries("sqlite").keys() == named_queries("postgresql").keys() - own


@pytest.mark.parametrize(("engine", "name"), [(engine, name) for engine in ENGINES for name in sorted(named_queries(engine))])
def test_a_statement_has_a_sentence_and_a_text(engine: Engine, name: str) -> None:
    sentence, text = described_queries(engine)[name]

    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert text
    assert named_queries(engine)[name] == text


@pytest.mark.parametrize("file", sorted(FILES))
def test_no_statement_skips_rows_by_counting_them(file: str) -> None:
    text = re.sub(r"--.*", "", FILES[file])

    # OFFSET 0 skips nothing: it is PostgreSQL's word for "this part first".
    assert not re.search(r"\boffset\b(?! 0\b)", text, re.IGNORECASE)


def test_the_files_hold_nothing_but_sql() -> None:
    assert {name.rpartition(".")[2] for name in FILES} == {"sql"}

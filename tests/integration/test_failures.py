"""A table of commands times bad conditions: whatever is wrong, a command ends with a known code and says so in a sentence."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import django.db.utils
import psycopg
import pytest
import typer

from matinee.cli import catalogue, failures, main
from matinee.errors import OperatorError
from tests.forked import Case, Ended, run_all

pytestmark = pytest.mark.sqlite_only("the conditions are of files, and of servers that do not answer: once is enough")
CODES = {0, 1, 2, 130}  # as docs/cli.md says
SECRET = "a-password-that-nobody-may-read"


def base(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command."""
    return {"PATH": os.environ["PATH"], "HOME": "/root", "MATINEE_HOME": str(home)} | more


def a_file(home: Path) -> dict[str, str]:
    """The data folder is a file."""
    (home / "file").write_text("")
    return base(home / "file")


def foreign(home: Path) -> dict[str, str]:
    """The catalogue is a database of another program."""
    with closing(sqlite3.connect(home / "catalogue.sqlite3")) as file:
        file.execute("CREATE TABLE recipe (name TEXT)")
    return base(home)


def garbage(home: Path) -> dict[str, str]:
    """The catalogue is no database."""
    (home / "catalogue.sqlite3").write_bytes(b"no database" * 1_000)
    return base(home)


def folder_as_file(home: Path) -> dict[str, str]:
    """The catalogue is a folder."""
    (home / "catalogue.sqlite3").mkdir()
    return base(home)


def secret_is_folder(home: Path) -> dict[str, str]:
    """The file of the secret key is a folder."""
    (home / "secret_key").mkdir()
    return base(home)


def no_postgres(home: Path) -> dict[str, str]:
    """No PostgreSQL and no Redis listens there."""
    return base(home, DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:1/d", REDIS_URL=f"redis://:{SECRET}@127.0.0.1:1/0")


def bad_url(home: Path) -> dict[str, str]:
    """The address of PostgreSQL has an option that does not exist."""
    return base(home, DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:1/d?nosuch=1")


def bad_settings(home: Path) -> dict[str, str]:
    """Settings are wrong, and some hold bytes that are not UTF-8."""
    return base(home, PORT="many", MATINEE_NOSUCH="1", MATINEE_LOG_FILE="/x\udce9")


def bad_cluster(home: Path) -> dict[str, str]:
    """The state file of a cluster is damaged."""
    (home / "cluster").mkdir()
    (home / "cluster" / "cluster.json").write_text('{"boot": "x", "databases": [{}]}')
    return base(home)


CONDITIONS: tuple[Callable[[Path], dict[str, str]], ...] = (
    a_file, foreign, garbage, folder_as_file, secret_is_folder, no_postgres, bad_url, bad_settings, bad_cluster,
)  # fmt: skip
COMMANDS = (
    "migrate", "import ndjson /nonexistent", "export ndjson -", "backup", "restore /nonexistent", "user create-admin --name x",
    "key create --name x", "key list", "get /v1/movies", "config show", "doctor", "status --url http://127.0.0.1:1",
    "sql report", "cache stats --url nonsense", "changes follow --once", "serve --port 1", "up --no-sample --host nonsense..",
    "cluster status", "cluster url leader", "cluster render /dev/null/x", "cluster certificates --out /dev/null/x",
)  # fmt: skip


def assert_told(ended: Ended) -> None:
    """Assert that a command ended as documented: a known code, no traceback, no password, and words when it failed."""
    said = ended.out + ended.err
    assert ended.code in CODES, ended
    assert [word for word in ("Traceback", "fault of Matinee", SECRET) if word in said] == [], ended
    assert ended.code == 0 or said.strip(), ended


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.__name__)
def test_every_command_ends_with_a_sentence(tmp_path: Path, condition: Callable[[Path], dict[str, str]]) -> None:
    cases = []
    for number, words in enumerate(COMMANDS):
        home = tmp_path / str(number)
        home.mkdir()
        cases.append(Case(tuple(words.split()), condition(home), str(tmp_path)))

    for ended in run_all(cases):
        assert_told(ended)


def test_odd_terminals_and_encodings_stop_no_command(tmp_path: Path) -> None:
    odd = [
        {"TERM": "dumb", "COLUMNS": "0", "NO_COLOR": "1"},
        {"COLUMNS": "-5", "LINES": "x", "FORCE_COLOR": "1"},
        {"LC_ALL": "xx_XX.nothing", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ]
    words = [("--help",), ("config", "show"), ("doctor",)]
    cases = [Case(word, base(tmp_path / "höme", **more), str(tmp_path)) for more in odd for word in words]

    for ended in run_all(cases):
        assert_told(ended)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "/a: No space left on device. Make room on the disk."),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files. Raise the limit of open files (`ulimit -n`)"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied. Give this user the right to use it"),
        (
            sqlite3.DatabaseError("database disk image is malformed"),
            "It is damaged: go back to a backup with `matinee restore`.",
        ),
        (sqlite3.OperationalError("database is locked"), "Another program writes to it; try again when it has ended."),
        (sqlite3.OperationalError("attempt to write a readonly database"), "It cannot be written to"),
        (sqlite3.OperationalError("no such table: movie"), "Bring the schema up to date with `matinee migrate`."),
        (psycopg.OperationalError('FATAL:  password authentication failed for user "u"'), "Check the user and the password"),
        (psycopg.OperationalError('FATAL:  database "d" does not exist'), "Make it (`createdb`), or check DATABASE_URL."),
        (psycopg.errors.InsufficientPrivilege("permission denied for table movie"), "the role matinee_writer"),
        (django.db.utils.OperationalError("connection refused"), "Check DATABASE_URL, and that the server runs."),
        (django.db.utils.InternalError("cannot execute in a read-only transaction"), "let DATABASE_URL name the leader"),
        (psycopg.OperationalError(f"no route to postgresql://u:{SECRET}@h/d"), "postgresql://u:***@h/d"),
        (
            psycopg.OperationalError("something new"),
            "The database cannot be used (something new). `matinee doctor` looks at it.",
        ),
        (psycopg.OperationalError("terminated due to idle-in-transaction timeout"), "or raise MATINEE_WRITE_TIMEOUT_MS."),
        (ModuleNotFoundError("No module named 'x'"), "This installation is incomplete (No module named 'x'); install"),
        (MemoryError(), "There is not enough memory for this"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), "use UTF-8"),
        (KeyError("leader"), "This is a fault of Matinee: KeyError: 'leader'."),
    ],
)
def test_an_exception_is_a_sentence_with_a_remedy(error: Exception, expected: str) -> None:
    assert expected in failures.sentence(error)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Return what makes `export ndjson` fail with an exception."""

    def plant(error: BaseException) -> None:
        def fail(**_: object) -> None:
            raise error

        monkeypatch.setattr(catalogue, "open_catalogue", fail)

    return plant


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            KeyError("leader"),
            2,
            "matinee: This is a fault of Matinee: KeyError: 'leader'. Details are in {home}/logs/errors.log.\n",
        ),
        (EOFError(), 2, "\nmatinee: The input ended too early; give a whole file. Details are in {home}/logs/errors.log.\n"),
        (OperatorError("Known."), 2, "matinee: Known.\n"),
        (typer.Exit(1), 1, ""),
        (SystemExit(3), 3, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_the_exit_code_and_the_words_of_each_kind(
    catalogue_home: Path, failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str],
    error: BaseException, code: int, said: str,
) -> None:  # fmt: skip
    failing(error)

    ended = main.run(["export", "ndjson", "-"])

    assert (ended, capsys.readouterr().err) == (code, said.format(home=catalogue_home))


def test_details_go_to_a_file_for_their_owner_without_passwords(
    catalogue_home: Path, failing: Callable[[BaseException], None]
) -> None:
    failing(RuntimeError(f"postgresql://u:{SECRET}@h/d"))

    main.run(["export", "ndjson", "-"])

    kept = catalogue_home / "logs" / "errors.log"
    assert (kept.stat().st_mode & 0o777, SECRET in kept.read_text()) == (0o600, False)
    assert kept.read_text().startswith("Traceback")


@pytest.mark.parametrize("words", ["nonsense", "key create", "up --port 99999999", "import ndjson", "key create --nonsense"])
def test_a_command_line_that_is_wrong_is_told_with_where_help_is(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main.run(words.split())

    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("matinee: ")
    assert "--help` for what it takes.\n" in said

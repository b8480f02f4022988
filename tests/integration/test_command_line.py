"""The command line as people and scripts meet it: real processes, their exit codes, and what they print where."""

from __future__ import annotations

import asyncio
import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from matinee import config as configuration
from matinee import runtime
from matinee.cli.reference import app
from matinee.errors import Unauthenticated
from tests import postgres
from tests.conftest import catalogue_in
from tests.movies import SMALL_CATALOGUE
from tests.processes import matinee

ALIEN = {"title": "Alien", "year": 1979, "genres": ["Horror"], "directors": ["Ridley Scott"], "imdb_id": "tt0078748"}
HEAT = {"title": "Heat", "year": 1995, "genres": ["Crime"], "directors": ["Michael Mann"]}


def ndjson(*films: Any) -> bytes:
    """Return the lines of a file."""
    return b"".join((film if isinstance(film, bytes) else msgspec.json.encode(film)) + b"\n" for film in films)


@pytest.fixture
def home(empty_catalogue: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a data folder with an empty catalogue."""
    home = tmp_path / "home"
    home.mkdir()
    with catalogue_in(home, empty_catalogue):
        yield home


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and of every group of commands."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


COMMANDS = [" ".join(words) for words in commands(typer.main.get_command(app))]


@pytest.mark.parametrize("words", COMMANDS)
def test_help_of_every_command_says_what_it_does(words: str) -> None:
    shown = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "120", "TERM": "dumb"})

    assert shown.exit_code == 0
    assert f"{words} [OPTIONS]".lstrip() in shown.output
    assert shown.output.count(".") > 1


def test_help_needs_no_catalogue_and_no_good_settings(tmp_path: Path) -> None:
    shown = matinee(tmp_path / "nowhere", "import", "ndjson", "--help", MATINEE_WORKERS="7")
    version = matinee(tmp_path / "nowhere", "--version")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert (version.returncode, version.stdout) == (0, "matinee 0.1.0\n")
    assert not (tmp_path / "nowhere").exists()


def test_doctor_finds_a_made_catalogue_well(small_catalogue: Path) -> None:
    made = matinee(small_catalogue, "user", "create-admin", "--json")
    plain = matinee(small_catalogue, "doctor")
    as_json = matinee(small_catalogue, "doctor", "--json")

    findings = json.loads(as_json.stdout)
    assert (made.returncode, plain.returncode, as_json.returncode) == (0, 0, 0), plain.stdout
    names = ["python", "settings", "home", "secret", "modes", "memory", "cache"]
    names += ["limits", "database", "catalogue", "search", "admin"]
    names += ["role", "session", "pools", "slots"] * postgres.wanted()
    assert [(finding["name"], finding["ok"]) for finding in findings] == [(name, True) for name in names]
    assert [line.split()[:2] for line in plain.stdout.splitlines()] == [["OK", name] for name in names]
    assert findings[9]["detail"] == "12 movies, position 12"


def test_doctor_finds_local_caches_bad_that_have_no_memory(small_catalogue: Path) -> None:
    some = matinee(small_catalogue, "doctor", MATINEE_LOCAL_CACHE_BYTES="1048576", WEB_CONCURRENCY="2")
    none = matinee(small_catalogue, "doctor", MATINEE_LOCAL_CACHE_BYTES="0")
    many = matinee(small_catalogue, "doctor", MATINEE_LOCAL_CACHE_BYTES=str(2**40), WEB_CONCURRENCY="2")

    shown = [next(line for line in done.stdout.splitlines() if line.split()[1] == "cache") for done in (some, none, many)]
    assert shown[0].startswith("OK   cache      s3fifo, 1.0 MiB for each of 2 processes: 2.0 MiB of ")
    assert shown[1] == "OK   cache      no local cache: MATINEE_LOCAL_CACHE_BYTES is 0"
    assert shown[2].startswith("BAD  cache      s3fifo, 1,048,576.0 MiB for each of 2 processes: 2,097,152.0 MiB of ")
    assert shown[2].endswith(" memory; lower MATINEE_LOCAL_CACHE_BYTES or WEB_CONCURRENCY.")


@pytest.mark.sqlite_only("a file is made or damaged")
def test_doctor_says_what_is_missing_and_makes_nothing(tmp_path: Path) -> None:
    seen = matinee(tmp_path / "nowhere", "doctor")

    bad = [line for line in seen.stdout.splitlines() if line.startswith("BAD")]
    assert (seen.returncode, seen.stderr) == (1, "")
    assert [line.split()[1] for line in bad] == ["home", "secret", "database"]
    assert all("`matinee up`" in line for line in bad)
    assert not (tmp_path / "nowhere").exists()


def test_get_answers_one_request_without_a_server(small_catalogue: Path) -> None:
    found = matinee(small_catalogue, "get", "/v1/movies/1")
    headed = matinee(small_catalogue, "get", "v1/movies?limit=1&genre=Horror", "--headers")
    missing = matinee(small_catalogue, "get", "/v1/movies/99")

    assert (found.returncode, json.loads(found.stdout)["title"], found.stderr) == (0, "Alien", "")
    head, _, body = headed.stdout.partition("\n\n")
    assert head.splitlines()[0] == "HTTP/1.1 200"
    assert "content-type: application/json" in head.splitlines()
    assert (headed.returncode, [item["title"] for item in json.loads(body)["items"]]) == (0, ["Alien"])
    assert (missing.returncode, json.loads(missing.stdout)["status"]) == (1, 404)


def test_config_show_masks_secrets(home: Path) -> None:
    secret = "a secret that nobody may read on a screen"
    plain = matinee(home, "config", "show", SECRET_KEY=secret, PORT="8123")
    as_json = matinee(home, "config", "show", "--json", SECRET_KEY=secret, PORT="8123")

    rows = {row["setting"]: row for row in json.loads(as_json.stdout)}
    assert (plain.returncode, as_json.returncode) == (0, 0)
    assert secret not in plain.stdout + as_json.stdout
    assert "SECRET_KEY\t(set, hidden)\tenvironment SECRET_KEY" in plain.stdout.splitlines()
    assert rows["PORT"]["value"] == 8123
    assert rows["PORT"]["source"] == "environment PORT"
    assert rows["MATINEE_MAX_AGE_S"]["source"] == "default"
    assert set(rows) == {setting.metadata["env"] for setting in configuration.SETTINGS}


def test_config_check_tells_all_faults_at_once(home: Path) -> None:
    wrong = {"PORT": "many", "LOG_LEVEL": "loud", "MATINEE_BUSY_TIMEOUT_MS": "-1", "MATINEE_DRAIN": "3"}
    faulty = matinee(home, "config", "check", **wrong)
    good = matinee(home, "config", "check")

    assert (faulty.returncode, faulty.stdout) == (2, "")
    assert all(name in faulty.stderr for name in wrong)
    assert len(faulty.stderr.splitlines()) == 1 + len(wrong)
    assert "did you mean MATINEE_DRAIN_S?" in faulty.stderr
    assert (good.returncode, good.stderr) == (0, "The settings are good.\n")


async def scope_of(home: Path, key: str) -> str:
    """Return what a key may do."""
    catalogue = runtime.build(configuration.load(home=home)).catalogue
    try:
        return (await catalogue.authenticate(key, "read")).scope
    finally:
        await catalogue.close()


def test_a_key_is_made_listed_and_revoked(home: Path) -> None:
    plain = matinee(home, "key", "create", "--name", "a script")
    made = json.loads(matinee(home, "key", "create", "--name", "shop", "--scope", "write", "--json").stdout)
    assert asyncio.run(scope_of(home, plain.stdout.strip())) == "read"
    assert asyncio.run(scope_of(home, made["key"])) == "write"

    revoked = matinee(home, "key", "revoke", made["prefix"])
    listed = json.loads(matinee(home, "key", "list", "--json").stdout)
    table = matinee(home, "key", "list").stdout

    assert revoked.returncode == 0
    assert [(key["name"], key["revoked_at"] is None) for key in listed] == [("shop", False), ("a script", True)]
    assert table.splitlines()[0] == "prefix\tname\tscope\tquota\tcreated_at\tlast_used_at\trevoked_at"
    assert made["key"] not in table + json.dumps(listed)
    with pytest.raises(Unauthenticated):
        asyncio.run(scope_of(home, made["key"]))


def test_a_key_that_there_is_not_and_a_scope_that_there_is_not_are_refused(home: Path) -> None:
    unknown = matinee(home, "key", "revoke", "abcd")
    scope = matinee(home, "key", "create", "--name", "x", "--scope", "all")

    assert (unknown.returncode, unknown.stderr) == (2, "matinee: There is no key 'abcd'; see `matinee key list`.\n")
    assert (scope.returncode, scope.stderr) == (2, "matinee: Scope 'all' is not one of read, write.\n")


def test_an_admin_is_made_once_with_a_password_that_is_shown_once(home: Path) -> None:
    first = matinee(home, "user", "create-admin", "--name", "ripley")
    second = matinee(home, "user", "create-admin", "--name", "ripley")

    assert (first.returncode, len(first.stdout.strip())) == (0, 16)
    assert first.stdout.strip() not in first.stderr
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == "matinee: There is a user 'ripley' already; choose another name with --name.\n"


def test_rejected_records_are_told_with_their_line_and_reason(home: Path, tmp_path: Path) -> None:
    source, rejected = tmp_path / "films.ndjson", tmp_path / "rejected.ndjson"
    source.write_bytes(ndjson(ALIEN, b"{cut off", {"year": 1999}, HEAT, {"title": "Long", "year": 20_000}))

    done = matinee(home, "import", "ndjson", str(source), "--rejected", str(rejected))

    reasons = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "5 read: 2 added, 0 changed, 0 unchanged, 3 rejected.",
        f"The rejected records and their reasons are in {rejected}",
    ]
    assert [record["line"] for record in reasons] == [2, 3, 5]
    assert reasons[0]["reason"].startswith("not a movie as JSON:")
    assert [reason["reason"].partition(":")[0] for reason in reasons[1:]] == ["/title", "/year"]


def test_an_import_reads_standard_input_and_what_is_compressed(home: Path, tmp_path: Path) -> None:
    packed, squeezed = tmp_path / "films.gz", tmp_path / "films.xz"
    packed.write_bytes(gzip.compress(ndjson(ALIEN, HEAT)))
    squeezed.write_bytes(lzma.compress(ndjson(ALIEN, HEAT, {"title": "Ronin", "year": 1998})))

    piped = matinee(home, "import", "ndjson", "-", "--json", stdin=ndjson(ALIEN))
    gz = matinee(home, "import", "ndjson", str(packed), "--json")
    xz = matinee(home, "import", "ndjson", str(squeezed), "--json")

    counts = {"changed": 0, "rejected": 0, "rejected_file": None}
    assert json.loads(piped.stdout) == counts | {"read": 1, "added": 1, "unchanged": 0}
    assert json.loads(gz.stdout) == counts | {"read": 2, "added": 1, "unchanged": 1}
    assert json.loads(xz.stdout) == counts | {"read": 3, "added": 1, "unchanged": 2}


def test_an_input_that_breaks_off_or_is_not_there_is_told_with_exit_code_2(home: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.xz"
    films = [{"title": f"Film {number}", "overview": f"{number * 7919:x}" * 20} for number in range(2_000)]
    cut.write_bytes(lzma.compress(ndjson(*films))[:-2_000])

    broken = matinee(home, "import", "ndjson", str(cut))
    missing = matinee(home, "import", "ndjson", str(tmp_path / "nothing.ndjson"))
    no_array = matinee(home, "import", "fynd", "-", stdin=b'{"name": "Alien"}')

    assert (broken.returncode, broken.stdout) == (2, "")
    assert f"{cut} is damaged or cut off" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert missing.returncode == no_array.returncode == 2
    assert "nothing.ndjson cannot be read: No such file or directory. Give a file" in missing.stderr
    assert "This is not a JSON array of fynd records" in no_array.stderr


def test_an_export_goes_to_a_whole_file_or_to_standard_output(small_catalogue: Path, tmp_path: Path) -> None:
    plain, packed = tmp_path / "out.ndjson", tmp_path / "out.ndjson.gz"
    piped = matinee(small_catalogue, "export", "ndjson", "-")
    codes = [matinee(small_catalogue, "export", "ndjson", str(path)).returncode for path in (plain, packed)]
    nowhere = matinee(small_catalogue, "export", "ndjson", str(tmp_path / "no" / "folder.ndjson"))

    titles = [json.loads(line)["title"] for line in piped.stdout.splitlines()]
    assert titles == [film["title"] for film in SMALL_CATALOGUE]
    assert piped.stderr == "12 movies exported.\n"
    assert codes == [0, 0]
    assert plain.read_text() == gzip.decompress(packed.read_bytes()).decode() == piped.stdout
    assert (nowhere.returncode, "cannot be written (No such file or directory)" in nowhere.stderr) == (2, True)
    assert list(tmp_path.glob("**/*.part")) == []


@pytest.mark.sqlite_only("a file is made or damaged")
def test_an_export_that_fails_leaves_the_file_of_the_last_one(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.ndjson"
    target.write_text("the last one\n")
    (home / "catalogue.sqlite3").write_bytes(b"no catalogue at all, but long enough to be looked at" * 40)

    failed = matinee(home, "export", "ndjson", str(target), "--force")

    assert failed.returncode == 2
    assert target.read_text() == "the last one\n"
    assert list(tmp_path.glob("*.part")) == []


def test_openapi_prints_the_document_without_a_catalogue(tmp_path: Path) -> None:
    shown = matinee(tmp_path / "nowhere", "openapi")

    document = json.loads(shown.stdout)
    assert (shown.returncode, shown.stderr, document["openapi"]) == (0, "", "3.1.0")
    assert "/v1/movies/{movie_id}" in document["paths"]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.sqlite_only("a file is made or damaged")
def test_migrate_makes_the_catalogue_and_the_second_time_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = matinee(home, "migrate", "--json")
    second = matinee(home, "migrate")
    third = matinee(home, "migrate", "--json")

    database = home / "catalogue.sqlite3"
    assert json.loads(first.stdout)["database"] == str(database)
    assert "catalogue.0001_initial" in json.loads(first.stdout)["applied"]
    assert (second.returncode, second.stderr) == (0, f"{database}: up to date.\n")
    assert json.loads(third.stdout) == {"database": str(database), "applied": []}
    assert (home / "secret_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["/v1/search?q=Amélie", "/v1/search?q=am%C3%A9lie", "/v1/movies?genre=Comedy&language=french"])
def test_get_takes_an_address_as_people_type_it(small_catalogue: Path, path: str) -> None:
    found = matinee(small_catalogue, "get", path)
    by_id = matinee(small_catalogue, "get", "/v1/movies/imdb%3Att0078748")

    assert [item["title"] for item in json.loads(found.stdout)["items"]] == ["Amélie"]
    assert json.loads(by_id.stdout)["title"] == "Alien"


def test_a_file_that_cannot_be_written_is_named_with_what_to_do(home: Path, tmp_path: Path) -> None:
    below = tmp_path / "file" / "out.ndjson"
    below.parent.write_text("no folder")

    exported = matinee(home, "export", "ndjson", str(below))
    imported = matinee(home, "import", "ndjson", "-", "--rejected", str(below), stdin=b"{}\n")

    assert exported.stderr == f"matinee: {below} cannot be written (Not a directory); choose another file.\n"
    assert f"{below} cannot be written (File exists); choose another file with --rejected." in imported.stderr
    assert exported.returncode == imported.returncode == 2

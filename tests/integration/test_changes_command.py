"""`changes follow`: the log of changes as lines, as JSON, and as what a CDN is to drop."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from matinee.storage import models
from matinee.write import keys, movies, names, purges
from tests.processes import MATINEE, Server, end, environment, free_port, matinee, start_server


@pytest.fixture
def changed(small_catalogue: Path) -> Path:
    """Return a data folder with a catalogue in which something has happened since position 12."""
    movies.patch(1, {"year": 1980, "runtime_min": 118}, "tests", None)
    movies.merge(2, 3, "tests")
    names.create_person("Nobody", "tests")
    keys.create("not shown", "read", "tests")
    purges.purge(1, "tests")
    purges.purge(None, "tests")
    return small_catalogue


def follow(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command until there is no more."""
    return matinee(home, "changes", "follow", "--once", *words)


def newest_person() -> int:
    return models.LogHead.objects.get(pk=1).last_person_id


def words_of(line: str) -> str:
    """Return a line without its moment."""
    position, at, *words = line.split()
    assert at.endswith("Z")
    return " ".join((position, *words))


def test_each_change_is_a_line_and_the_end_tells_where_to_go_on(changed: Path) -> None:
    shown = follow(changed, "--since", "12")

    assert [words_of(line) for line in shown.stdout.splitlines()] == [
        "13 movie 1 updated: runtime_min, year",
        "14 movie 2 merged into 3",
        "15 movie 3 updated: ids",
        f"16 person {newest_person()} created",
        "18 cache 1 purged",
        "19 cache all purged",
    ]
    assert (shown.returncode, shown.stderr) == (0, "Go on with --since 19\n")


def test_whoever_goes_on_sees_the_rest_once(changed: Path) -> None:
    rest = follow(changed, "--since", "16")
    nothing = follow(changed)

    assert [line.split()[0] for line in rest.stdout.splitlines()] == ["18", "19"]
    assert (nothing.stdout, nothing.stderr) == ("", "Go on with --since 19\n")


def test_a_change_is_json_for_scripts(changed: Path) -> None:
    shown = follow(changed, "--since", "13", "--json")

    first = json.loads(shown.stdout.splitlines()[0])
    assert first.pop("at").endswith("Z")
    assert first == {
        "position": 14, "subject": "movie", "subject_id": 2, "kind": "merged", "version": 2, "fields": [], "into": 3
    }  # fmt: skip


def test_the_purge_list_names_each_tag_once(changed: Path) -> None:
    plain = follow(changed, "--since", "12", "--purge-list", "--delay", "0")
    as_json = follow(changed, "--since", "15", "--purge-list", "--json", "--delay", "0")

    lines = ["movie-1 lists", "movie-2", "movie-3", f"person-{newest_person()}", "everything"]
    assert plain.stdout.splitlines() == lines
    assert [json.loads(line) for line in as_json.stdout.splitlines()] == [
        {"position": 16, "tags": [lines[3], "lists"]},
        {"position": 18, "tags": ["movie-1"]},
        {"position": 19, "tags": ["everything"]},
    ]


def test_a_server_tells_the_same_and_wants_a_key_where_reads_need_one(changed: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(keys.create("a CDN's", "read", "tests").text + "\n")
    with start_server(changed, MATINEE_PUBLIC_READS="false") as server:
        refused = follow(changed, "--since", "12", "--url", server.url)
        through = follow(changed, "--since", "12", "--url", server.url, "--key-file", str(key_file))

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "answers 401" in refused.stderr
    assert "--key-file PATH" in refused.stderr
    assert through.stdout == follow(changed, "--since", "12").stdout


@pytest.mark.parametrize("is_through_server", [True, False])
def test_what_changes_meanwhile_is_printed_until_it_is_interrupted(server: Server, is_through_server: bool) -> None:
    words = ["changes", "follow", "--since", "11", *(["--url", server.url] if is_through_server else [])]
    process = subprocess.Popen([*MATINEE, *words], env=environment(server.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    try:
        before = process.stdout.readline().decode()
        purges.purge(3, "tests")
        meanwhile = process.stdout.readline().decode()
        process.send_signal(signal.SIGINT)
        out, complaint = process.communicate(timeout=15)
    finally:
        end(process)

    assert [words_of(line) for line in (before, meanwhile)] == ["12 movie 12 created", "13 cache 3 purged"]
    assert (process.returncode, out) == (130, b"")
    # An interrupt right behind a line has that line printed again by who goes on; none is left out.
    assert complaint.decode() in {"Go on with --since 12\n", "Go on with --since 13\n"}


def test_a_server_that_goes_away_is_waited_for_and_told_of(small_catalogue: Path) -> None:
    port = free_port()
    words = [*MATINEE, "changes", "follow", "--since", "11", "--url", f"http://127.0.0.1:{port}"]
    with start_server(small_catalogue, port=port):
        process = subprocess.Popen(words, env=environment(small_catalogue), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
    try:
        told = process.stderr.readline().decode()
        purges.purge(3, "tests")
        with start_server(small_catalogue, port=port):
            meanwhile = process.stdout.readline().decode()
    finally:
        end(process)

    assert first
    assert told.startswith(f"No server answers at http://127.0.0.1:{port} (")
    assert words_of(meanwhile) == "13 cache 3 purged"


def test_without_a_server_it_ends_at_once(small_catalogue: Path, tmp_path: Path) -> None:
    away = matinee(small_catalogue, "changes", "follow", "--since", "5", "--url", f"http://127.0.0.1:{free_port()}")
    no_key = matinee(small_catalogue, "changes", "follow", "--url", "http://127.0.0.1:1", "--key-file", str(tmp_path / "none"))

    assert (away.returncode, away.stdout) == (2, "")
    assert "start one, or name it with --url URL." in away.stderr
    assert "Go on with" not in away.stderr
    assert (no_key.returncode, "name the file that holds the key" in no_key.stderr) == (2, True)

"""`matinee cache simulate` as people and scripts meet it: its table, its JSON, its picture, what it says of a wrong file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.processes import matinee

SMALL = ("--requests", "20000", "--ids", "2000")
LOG_LINE = '{{"event":"request","method":"GET","path":"/v1/movies/{}","status":200}}\n'


def trace_file(folder: Path, *lines: str) -> Path:
    """Return a file of these lines."""
    path = folder / "trace.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_trace_that_is_made_up_is_replayed_without_a_catalogue(tmp_path: Path) -> None:
    shown = matinee(tmp_path / "nowhere", "cache", "simulate", "zipf", *SMALL)

    head, *rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert head == ["hit ratio in %", "0.1 % = 2", "1 % = 20", "5 % = 100", "10 % = 200"]
    assert [row[0] for row in rows] == ["lru", "topn", "s3fifo", "OPT"]
    assert [max(rows, key=lambda row: float(row[size]))[0] for size in (1, 2, 3, 4)] == ["OPT"] * 4
    assert shown.stderr == "zipf: 20,000 requests for 1,893 of 2,000 ids. The best policy, in the mean of the sizes, is topn.\n"
    assert (shown.returncode, (tmp_path / "nowhere").exists()) == (0, False)


def test_the_same_seed_gives_the_same_figures_and_json_holds_them_all(tmp_path: Path) -> None:
    words = ("cache", "simulate", "crawler", *SMALL, "--sizes", "1,10", "--policy", "lru", "--policy", "s3fifo", "--json")
    first, second = (matinee(tmp_path, *words, "--warm-up", "50", "--seed", "7") for _ in range(2))

    found = json.loads(first.stdout)
    ratios = found.pop("hit_ratios")
    assert (first.stdout, first.returncode, first.stderr) == (second.stdout, 0, "")
    assert found == {
        "trace": "crawler",
        "requests": 20_000,
        "ids": 2_000,
        "distinct_ids": 2_000,
        "bad_lines": 0,
        "first_bad_line": None,
        "warm_up_percent": 50,
        "sizes_percent": [1.0, 10.0],
        "sizes_entries": [20, 200],
        "best": "s3fifo",
    }
    assert list(ratios) == ["lru", "s3fifo", "OPT"]
    assert all(0 < ratios["lru"][size] < ratios["s3fifo"][size] < ratios["OPT"][size] < 1 for size in (0, 1))


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_a_recorded_trace_is_replayed_plain_or_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace.{suffix}"
    text = "timestamp,id\n" + "".join(f"{moment},{moment % 3}\n" for moment in range(300))
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())

    shown = matinee(tmp_path, "cache", "simulate", str(path), "--sizes", "100", "--policy", "lru")

    assert shown.stdout == "hit ratio in %\t100 % = 3\nlru\t99.0\nOPT\t99.0\n"
    assert shown.stderr == f"{path}: 300 requests for 3 of 3 ids. The best policy, in the mean of the sizes, is lru.\n"


def test_an_access_log_is_replayed_and_its_unreadable_lines_are_told_with_exit_code_1(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOG_LINE.format(1) + '{"event":"started"}\nGET /v1/movies/2\nplain words\n' + LOG_LINE.format(1))

    shown = matinee(tmp_path, "cache", "simulate", str(log), "--sizes", "100", "--policy", "lru")

    assert (shown.returncode, shown.stdout) == (1, "hit ratio in %\t100 % = 1\nlru\t50.0\nOPT\t50.0\n")
    assert shown.stderr.endswith("Passed over: 2 lines that are neither `timestamp,id` nor JSON, first line 3.\n")


def test_a_file_that_is_no_trace_is_told_with_what_to_give_instead(tmp_path: Path) -> None:
    wrong = trace_file(tmp_path, "userId,movieId,rating,timestamp", "1,1,4.0,964982703")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"964982703,1\n" * 1_000)[:-10])

    shown = [matinee(tmp_path, "cache", "simulate", str(path)) for path in (wrong, cut, tmp_path / "none.csv")]

    assert [(done.returncode, done.stdout) for done in shown] == [(2, "")] * 3
    assert shown[0].stderr == (
        f"matinee: {wrong} holds no request for a movie, but 1 line that is neither `timestamp,id` nor JSON, first line 2. "
        "Give lines `timestamp,id`, or an access log that was written with LOG_FORMAT=json.\n"
    )
    assert f"{cut} is damaged or cut off" in shown[1].stderr
    assert "none.csv cannot be read: No such file or directory. Give a file, or one of zipf, drift, crawler." in shown[2].stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--sizes", "1,x"), "--sizes 1,x is no list of percents above 0 and up to 100; give some such as 0.1,1,5,10."),
        (("--sizes", "0"), "--sizes 0 is no list of percents above 0 and up to 100; give some such as 0.1,1,5,10."),
        (("--policy", "mru"), "There is no policy 'mru'; choose from lru, topn, s3fifo."),
        (("--picture", "/no/where.svg"), "/no/where.svg cannot be written (No such file or directory); choose another file."),
    ],
)
def test_an_option_that_cannot_be_is_told_before_any_work(tmp_path: Path, words: tuple[str, str], complaint: str) -> None:
    shown = matinee(tmp_path, "cache", "simulate", "zipf", "--requests", "100000000", *words)

    assert (shown.returncode, shown.stdout, shown.stderr) == (2, "", f"matinee: {complaint}\n")


def test_the_picture_is_an_svg_with_the_traffic_in_its_title(tmp_path: Path) -> None:
    picture = tmp_path / "ratios.svg"

    shown = matinee(tmp_path, "cache", "simulate", "drift", *SMALL, "--picture", str(picture), "--sizes", "1,5")

    text = picture.read_text()
    assert (shown.returncode, text.startswith('<svg xmlns="http://www.w3.org/2000/svg"')) == (0, True)
    assert ">drift: 20,000 requests for " in text
    assert [f">{name}</text>" in text for name in ("lru", "topn", "s3fifo", "OPT", "1 %", "5 %")] == [True] * 6

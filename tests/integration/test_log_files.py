"""Where a log is written: full disks, pipes that nothing reads, rotation among processes; the writer never waits or fails."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.logs import AccessLog, lines
from matinee.logs.sink import MAX_WAITING_BYTES, Sink
from matinee.logs.targets import File, Rotation, Stream, WriteFailed
from tests.cluster.small_disk import small_disk
from tests.log_targets import Kept
from tests.processes import eventually

LINE = b'{"event":"tests"}\n'


def sink_to(target: Any) -> Sink:
    sink = Sink()
    sink.use(target, lines.as_json)
    return sink


def test_lines_that_a_full_device_refuses_are_counted() -> None:
    sink = sink_to(File("/dev/full", Rotation()))

    for _ in range(3):
        sink.write(LINE * 2, 2)

    assert sink.drain()
    assert sink.lost == 6


def test_lost_lines_are_reported_when_the_log_works_again() -> None:
    target = Kept(is_full=True)
    sink = sink_to(target)
    sink.write(LINE * 3, 3)
    assert sink.drain()
    target.is_full = False

    sink.write(LINE)
    assert sink.drain()

    events = [json.loads(line) for line in target.lines()]
    told = {"event": "log lines were lost", "level": "warning", "lines": 3, "reason": "No space left on device"}
    assert events == [{"event": "tests"}, told]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_nothing_reads_holds_nothing_up_and_what_waits_is_bounded(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sink = sink_to(Stream(writing))

    for _ in range(2 * MAX_WAITING_BYTES // 1000):
        sink.write(b"x" * 999 + b"\n")

    assert sink.lost >= 900  # and this line is reached at once
    reader = threading.Thread(target=lambda: [os.read(reading, 65_536) for _ in range(10_000) if sink._waiting_bytes])
    reader.start()
    eventually(lambda: sink._waiting_bytes, lambda waiting: waiting == 0)
    sink.write(LINE * 4000)  # so that the reader does not wait for ever
    reader.join(10)


def test_a_pipe_whose_reader_is_gone_loses_lines_and_raises_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = sink_to(Stream(writing))

    sink.write(LINE)

    assert sink.drain()
    assert sink.lost == 1
    os.close(writing)


def test_a_named_pipe_without_a_reader_does_not_hold_the_start_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="No such device or address"):
        File(str(tmp_path / "pipe"), Rotation()).open()


def test_a_line_that_a_full_disk_cut_is_completed_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", None) as disk:
        if disk is None:
            pytest.skip("this process may not mount the small disk that is to be filled")
        path = tmp_path / "disk" / "matinee.log"
        file, line = File(str(path), Rotation()), json.dumps({"event": "x" * 3000}).encode() + b"\n"
        file.write(line)
        disk.fill()
        lost = 0
        for _ in range(50):
            try:
                file.write(line * 3)
            except WriteFailed as failure:
                lost += failure.lines
        disk.free()
        file.write(LINE)
        written = [json.loads(text)["event"] for text in path.read_text().splitlines()]

    assert lost > 100
    assert (written[-1], set(written[:-1])) == ("tests", {"x" * 3000})


def test_a_file_is_rotated_by_size_and_the_oldest_ones_are_deleted(tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    file = File(str(path), Rotation(max_bytes=100, keep=2))

    for number in range(40):
        file.write(b'{"n":%d}\n' % (100 + number))

    assert sorted(found.name for found in tmp_path.iterdir()) == [
        "matinee.log",
        "matinee.log.1",
        "matinee.log.2",
        "matinee.log.lock",
    ]
    sizes = [found.stat().st_size for found in tmp_path.glob("matinee.log*")]
    assert sum(sizes) <= 300
    assert path.read_bytes().endswith(b'{"n":139}\n')
    assert {stat.S_IMODE(found.stat().st_mode) for found in tmp_path.iterdir()} == {0o600}


def test_a_rotation_touches_only_files_that_a_rotation_has_made(tmp_path: Path) -> None:
    path = tmp_path / "log [1].log"
    foreign = [f"{path.name}.{ending}" for ending in ("20240101", "01", "1001", "1.gz", "²", "lock2")] + ["log 1.log.1"]
    ours = [f"{path.name}.{number}" for number in (1, 2, 9)]
    for name in (path.name, *ours, *foreign):
        (tmp_path / name).write_text(name)

    File(str(path), Rotation(max_bytes=10, keep=2)).write(LINE)

    assert {name for name in foreign if (tmp_path / name).read_text() == name} == set(foreign)
    assert [name for name in ours if (tmp_path / name).exists()] == ours[:2]
    assert ((tmp_path / ours[0]).read_text(), (tmp_path / ours[1]).read_text()) == (path.name, ours[0])


def test_a_file_of_yesterday_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    path.write_bytes(LINE)
    os.utime(path, (0, path.stat().st_mtime - 86_400))

    File(str(path), Rotation(max_age_s=86_400)).write(LINE * 2)

    assert (path.read_bytes(), (tmp_path / "matinee.log.1").read_bytes()) == (LINE * 2, LINE)


def test_a_file_that_was_renamed_or_deleted_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    file = File(str(path), Rotation())
    file.write(LINE)
    path.rename(tmp_path / "renamed")
    file.write(LINE * 2)
    path.unlink()
    file.write(LINE * 3)

    assert ((tmp_path / "renamed").read_bytes(), path.read_bytes()) == (LINE, LINE * 3)


def test_a_file_behind_a_link_is_rotated_and_the_link_stays(tmp_path: Path) -> None:
    path, link = tmp_path / "real.log", tmp_path / "link.log"
    link.symlink_to(path)
    file = File(str(link), Rotation(max_bytes=len(LINE)))

    file.write(LINE)
    file.write(LINE)

    assert (link.is_symlink(), path.read_bytes(), (tmp_path / "real.log.1").read_bytes()) == (True, LINE, LINE)


def test_a_file_that_cannot_be_rotated_grows_to_twice_its_bound_at_most(tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    (tmp_path / "matinee.log.lock").mkdir()
    file = File(str(path), Rotation(max_bytes=10 * len(LINE)))
    lost = 0
    for _ in range(40):
        try:
            file.write(LINE)
        except WriteFailed as failure:
            lost += failure.lines

    assert (path.read_bytes(), lost) == (LINE * 20, 20)


def write_lines(path: str, who: int, number: int) -> None:
    sink = sink_to(File(path, Rotation(max_bytes=20_000, keep=1_000)))
    for line in range(number):
        sink.write(b'{"who":%d,"n":%d,"fill":"%s"}\n' % (who, line, b"x" * (line % 400)))
        if line % 100 == 0:
            sink.drain(10)
    assert sink.drain(30)
    assert sink.lost == 0


def test_processes_rotate_one_file_together_and_every_line_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "matinee.log"
    forks = multiprocessing.get_context("fork")
    writers = [forks.Process(target=write_lines, args=(str(path), who, 1_000)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    files = [found for found in tmp_path.iterdir() if found.suffix != ".lock"]
    written = [json.loads(line) for found in files for line in found.read_text().splitlines()]
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert sorted((line["who"], line["n"]) for line in written) == [(who, n) for who in range(4) for n in range(1_000)]
    assert len(files) > 20


def access_lines(config: configuration.Config, requests: list[tuple[str, int, str]]) -> tuple[list[dict[str, Any]], AccessLog]:
    """Return what the access log says of requests that come within a moment, and the log."""
    target = Kept()
    sink = sink_to(target)

    async def note() -> AccessLog:
        log = AccessLog(config, sink)
        for path, status, client in requests:
            log.note("GET", path, status, 0.001, 7, b"a-1", client)
        log.finish()
        return log

    log = asyncio.run(note())
    assert sink.drain()
    return [json.loads(line) for line in target.lines()], log


def test_a_flood_of_refusals_is_counted_and_hides_no_good_answer() -> None:
    config = configuration.load({"LOG_LEVEL": "info", "LOG_FORMAT": "json", "MATINEE_ACCESS_LOG_BYTES_PER_S": "20000"})
    flood = [(f"/nowhere/{number}", 404, "192.0.2.66") for number in range(3_000)]

    seen, log = access_lines(config, [*flood, ("/v1/movies/1", 200, "192.0.2.1"), ("/v1/genres", 503, "192.0.2.1")])

    logged = [line for line in seen if line["event"] == "request"]
    assert [line["path"] for line in logged if line["status"] != 404] == ["/v1/movies/1", "/v1/genres"]
    refusals = sum(line["status"] == 404 for line in logged)
    assert 10 < refusals < 30
    (told,) = (line for line in seen if line["event"] != "request")
    assert (told["event"], told["lines"], told["statuses"], told["clients"]) == (
        "requests not logged",
        3_000 - refusals,
        {"404": 3_000 - refusals},
        {"192.0.2.66": 3_000 - refusals},
    )
    assert log.suppressed == 3_000 - refusals


def test_a_path_of_any_characters_is_one_short_line_of_the_access_log() -> None:
    config = configuration.load({"LOG_LEVEL": "info", "LOG_FORMAT": "json"})
    paths = ["/" + "\x01" * 60_000, "/" + "\u2028" * 60_000, "/\ud800", "/" + "\x9b" * 9]

    seen, _ = access_lines(config, [(path, 404, "192.0.2.1") for path in paths])

    assert [line["path"] for line in seen] == [
        "/" + "\x01" * 499 + "...(60001 characters)",
        "/" + "\u2028" * 499 + "...(60001 characters)",
        "/\\ud800",
        "/" + "\x9b" * 9,
    ]


def test_the_access_log_for_people_forges_no_line() -> None:
    config = configuration.load({"LOG_LEVEL": "info", "LOG_FORMAT": "console"})
    target = Kept()
    sink = sink_to(target)

    async def note() -> None:
        log = AccessLog(config, sink)
        log.note("GET", "/a\n2026 [error] forged", 404, 0.001, 7, b"a-1", "192.0.2.1")
        log.finish()

    asyncio.run(note())
    assert sink.drain()

    (line,) = target.lines()
    assert 'method=GET path="/a\\n2026 [error] forged" status=404 duration_ms=1.0 bytes=7' in line

"""How a server starts and ends in unfriendly surroundings: no /tmp, no HOME, closed streams, workers that cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.children import alive, children
from tests.processes import MATINEE, answers, end, environment, eventually, free_port, start_server

_NO_TMP = """
import signal, tempfile
signal.signal(signal.SIGINT, signal.default_int_handler)
def refuse():
    raise FileNotFoundError(2, "No usable temporary directory found")
tempfile._get_default_tempdir = refuse
from matinee.cli.main import main; main()
"""


def test_a_server_of_two_workers_needs_no_tmp_and_no_home_folder(small_catalogue: Path) -> None:
    program = [sys.executable, "-c", _NO_TMP]
    with start_server(small_catalogue, "--workers", "2", program=program, HOME="", XDG_RUNTIME_DIR="") as server:
        counted = eventually(lambda: server.get("/metrics").text, lambda text: "matinee_http_requests_total" in text)
        (folder,) = (small_catalogue / "run").iterdir()

        assert counted.count("# TYPE matinee_http_requests_total") == 1
        assert list(folder.glob("*.db")) != []

    assert list((small_catalogue / "run").iterdir()) == []


def test_workers_that_cannot_start_end_the_server_with_one_sentence(small_catalogue: Path) -> None:
    broken = "from matinee.cli import main, server; server._TARGET = 'matinee.no_such_module:app'; main.main()"
    log = small_catalogue / "server.log"

    done = subprocess.run(
        [sys.executable, "-c", broken, "serve", "--port", str(free_port())],
        env=environment(small_catalogue, MATINEE_LOG_FILE=str(log)), capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip

    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, last) == (
        2,
        f"matinee: The server ended because its workers do not start; the reason is in {log} and the lines above.",
    )
    assert list((small_catalogue / "run").iterdir()) == []


def test_a_server_with_all_streams_closed_serves_and_writes_into_no_file_of_its_own(small_catalogue: Path) -> None:
    port = free_port()
    command = 'exec "$@" <&- >&- 2>&-'
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", *MATINEE, "serve", "--port", str(port)],
        env=environment(small_catalogue, MATINEE_LOG_FILE=str(small_catalogue / "server.log")),
    )
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}"), bool, 60)
        streams = {Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in (0, 1, 2)}
        assert streams == {Path(os.devnull)}
    finally:
        end(process)
    assert process.returncode == 0


def test_a_server_that_is_told_to_end_while_it_starts_leaves_no_process(small_catalogue: Path) -> None:
    process = subprocess.Popen(
        [*MATINEE, "serve", "--port", str(free_port())], env=environment(small_catalogue), stderr=subprocess.DEVNULL
    )
    eventually(lambda: children(process.pid), bool, 60)
    below = children(process.pid)

    process.send_signal(signal.SIGTERM)

    process.wait(45)
    assert eventually(lambda: alive(below), lambda left: left == set(), 20) == set()
    assert eventually(lambda: list((small_catalogue / "run").glob("matinee-new-*")), lambda left: left == []) == []

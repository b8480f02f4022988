"""Many commands as processes, quickly: one interpreter imports the program once and forks a child for each command.

Used by tests that run a whole table of commands. Each child has its own environment, working folder and standard streams.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

_DRIVER = """
import json, os, resource, signal, sys, tempfile
import django.contrib.admin, django.db.migrations.executor, litestar, psycopg  # what takes the time, before any setting is read
from matinee.cli import main as program

def child(case):
    os.setsid()  # no controlling terminal
    os.environ.clear()
    os.environ.update({name: value for name, value in case["environ"].items()})
    os.chdir(case["folder"])
    sys.argv = ["matinee", *case["words"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if case["user"]:
        os.setgroups([]); os.setgid(case["user"]); os.setuid(case["user"])
    if case["files"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (case["files"], case["files"]))
    signal.alarm(60)
    program.main()

for line in sys.stdin:
    case = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(case["stdin"] or os.devnull, "rb") as into:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                for number, stream in enumerate((into, out, err)):
                    os.dup2(stream.fileno(), number)
                child(case)
            except SystemExit as error:
                code = error.code or 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                for stream in (sys.stdout, sys.stderr):
                    try:
                        stream.flush()
                    except Exception:
                        pass
                os._exit(code if isinstance(code, int) else 1)
        _, status = os.waitpid(pid, 0)
        out.seek(0), err.seek(0)
        said = [stream.read().decode(errors="replace") for stream in (out, err)]
    print(json.dumps([os.waitstatus_to_exitcode(status), *said]), flush=True)
"""


@dataclass(frozen=True)
class Case:
    """One command with what surrounds it; `user` is the id that it runs as, `files` its limit of open files."""

    words: tuple[str, ...]
    environ: Mapping[str, str]
    folder: str = "/"
    stdin: str = ""
    user: int = 0
    files: int = 0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    case: Case = field(repr=False)
    code: int
    out: str
    err: str


def run_all(cases: Sequence[Case], within_s: float = 300) -> list[Ended]:
    """Run commands one after another, each in a process of its own."""
    lines = "".join(json.dumps(asdict(case)) + "\n" for case in cases)
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER], input=lines, capture_output=True, text=True, timeout=within_s, check=False,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases), done.stderr
    return [Ended(case, *answer) for case, answer in zip(cases, answers, strict=True)]

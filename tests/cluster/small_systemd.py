"""Start, stop and reload the rendered units where systemd is absent: the part of `systemctl` that a host's README.md uses.

Called as `systemctl` on the hosts of three_hosts.py. It runs a unit's own commands through confined.py and starts a process
again when it ends. It is for tests: it has no dependencies between units, no journal (/var/log/units has the output) and no
boot.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from confined import read

_UNITS, _STATE, _LOGS = Path("/etc/systemd/system"), Path("/run/units"), Path("/var/log/units")
_WANTED = _UNITS / "multi-user.target.wants"
_START_WITHIN_S = 30.0
_CONFINED = str(Path(__file__).with_name("confined.py"))


def main(words: list[str]) -> int:
    """Do one command of systemctl. Returns its exit code."""
    options = {word for word in words if word.startswith("-")}
    command, *names = [word for word in words if word not in options]
    for folder in (_STATE, _LOGS, _WANTED):
        folder.mkdir(parents=True, exist_ok=True)
    if command == "supervise":
        return _supervise(names[0])
    codes = [_COMMANDS[command](name.removesuffix(".service"), options) for name in names]
    return max(codes, default=0)


def _pid(name: str) -> int:
    """Return a unit's main process, 0 when it does not run."""
    with contextlib.suppress(OSError, ValueError):
        number = int((_STATE / name).read_text())
        os.kill(number, 0)
        return number
    return 0


def _commands(name: str, kind: str) -> list[list[str]]:
    return [shlex.split(line) for line in read(_UNITS / f"{name}.service").get(kind, [])]


def _confined(name: str, command: list[str], **options: object) -> subprocess.Popen[bytes]:
    words = ["/usr/bin/python3", _CONFINED, str(_UNITS / f"{name}.service"), *command]
    with (_LOGS / name).open("ab") as log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)  # type: ignore[call-overload,no-any-return]


def _start(name: str, _options: set[str]) -> int:
    if _pid(name):
        return 0
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(f"\0units-{name}-{os.getpid()}")
    listener.settimeout(_START_WITHIN_S)
    words = ["/usr/bin/python3", __file__, "supervise", name]
    environment = os.environ | {"NOTIFY_SOCKET": listener.getsockname().decode().replace("\0", "@")}
    with (_LOGS / name).open("ab") as log:  # not the caller's streams, which end with the caller
        subprocess.Popen(words, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while b"READY=1" not in listener.recv(4096):
            pass
    except TimeoutError:
        print(f"{name} did not start; the end of {_LOGS / name}:", file=sys.stderr)
        print((_LOGS / name).read_text()[-2000:], file=sys.stderr)
        return 1
    return 0


def _supervise(name: str) -> int:
    """Run a unit's process, and again when it ends, until the unit is stopped."""
    service = read(_UNITS / f"{name}.service")
    (_STATE / f"{name}.supervisor").write_text(str(os.getpid()))
    while True:
        if not any(_confined(name, command).wait() for command in _commands(name, "ExecStartPre")):
            process = _confined(name, _commands(name, "ExecStart")[0], start_new_session=True)
            (_STATE / name).write_text(str(process.pid))
            if service["Type"] != ["notify"]:
                _tell(b"READY=1")
            process.wait()
        time.sleep(1)


def _tell(words: bytes) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(words, os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))


def _stop(name: str, _options: set[str]) -> int:
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((_STATE / f"{name}.supervisor").read_text()), signal.SIGKILL)
    number = _pid(name)
    if not number:
        return 0
    service = read(_UNITS / f"{name}.service")
    os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + float(service["TimeoutStopSec"][0])
    while _pid(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    if service["KillMode"] == ["mixed"]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)
    for folder in service.get("RuntimeDirectory", []):
        shutil.rmtree(Path("/run") / folder, ignore_errors=True)
    return 0


def _restart(name: str, options: set[str]) -> int:
    return _stop(name, options) or _start(name, options)


def _reload(name: str, _options: set[str]) -> int:
    number = str(_pid(name))
    for command in _commands(name, "ExecReload"):
        words = [number if word == "$MAINPID" else word for word in command]
        if _confined(name, words).wait():
            return 1
    return 0


def _enable(name: str, options: set[str]) -> int:
    link = _WANTED / f"{name}.service"
    if not link.is_symlink():
        link.symlink_to(_UNITS / f"{name}.service")
    return _start(name, options) if "--now" in options else 0


def _disable(name: str, options: set[str]) -> int:
    (_WANTED / f"{name}.service").unlink(missing_ok=True)
    return _stop(name, options) if "--now" in options else 0


_COMMANDS = {
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "reload": _reload,
    "enable": _enable,
    "disable": _disable,
    "is-active": lambda name, _options: 0 if _pid(name) else 3,
    "is-enabled": lambda name, _options: 0 if (_WANTED / f"{name}.service").is_symlink() else 1,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

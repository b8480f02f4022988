"""Run a command of a systemd unit where systemd is absent, with the unit's user, files, rights and system calls.

Called by small_systemd.py and tests, as root: `confined.py UNIT COMMAND...`. It applies what the rendered units use with the
kernel's own means: namespaces, capabilities, and the same seccomp filters. It refuses a directive that it does not know, so
that none is skipped unseen. Its second stage (`--filter`) runs as the unit's user: filters come last, because they forbid the
rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

_NOT_OURS = {
    "Type", "ExecStart", "ExecStartPre", "ExecReload", "KillMode", "TimeoutStopSec", "Restart", "RestartSec",
    "SuccessExitStatus", "SystemCallArchitectures", "SystemCallErrorNumber", "RemoveIPC", "Group",
    "NoNewPrivileges", "AmbientCapabilities",
    # These need a kernel's or a control group's part that a test machine may lack; the engines never use what they forbid.
    "ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectControlGroups", "LockPersonality",
    "RestrictSUIDSGID", "RestrictRealtime", "DevicePolicy", "DeviceAllow",
}  # fmt: skip
_USED = {
    "User", "EnvironmentFile", "StateDirectory", "StateDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode",
    "LimitNOFILE", "OOMScoreAdjust", "UMask", "CapabilityBoundingSet",
    "PrivateUsers", "ProtectSystem", "ProtectHome", "PrivateTmp",
    "PrivateDevices", "ProtectProc", "ProcSubset", "ProtectKernelTunables", "RestrictAddressFamilies", "RestrictNamespaces",
    "MemoryDenyWriteExecute", "SystemCallFilter",
}  # fmt: skip
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000
_MS = {
    "remount": 0x20,
    "ro": 0x1,
    "bind": 0x1000,
    "rec": 0x4000,
    "private": 0x40000,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
}
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
_NAMESPACE_FLAGS = 0x7E020000 | 0x80  # CLONE_NEW* of clone(), unshare() and setns()
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001


def read(unit: Path) -> dict[str, list[str]]:
    """Return the values of each directive in [Service]. Raises: SystemExit for a directive that nothing here knows."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    if unknown := set(found) - _NOT_OURS - _USED:
        raise SystemExit(f"{unit}: confined.py does not know {', '.join(sorted(unknown))}")
    return found


def environment_of(service: dict[str, list[str]]) -> dict[str, str]:
    """Return the variables of a unit, as systemd reads them from its files before it gives up root."""
    lines = [line for name in service.get("EnvironmentFile", []) for line in Path(name).read_text().splitlines()]
    pairs = [line.split("=", 1) for line in lines if line.strip() and not line.startswith("#")]
    return {name: value.strip("'\"") for name, value in pairs}


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() if word else None for word in (source, target, kind)]
    if _LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None):
        raise OSError(ctypes.get_errno(), f"mount {source} {target} {kind} {data}")


def _set_read_only(path: str, *, on: bool) -> None:
    """Make a tree of mounts read-only or not, by mount_setattr(2)."""
    attributes = (ctypes.c_uint64 * 4)(1 if on else 0, 0 if on else 1, 0, 0)
    if _LIBC.syscall(442, -100, path.encode(), 0x8000, ctypes.byref(attributes), 32):
        raise OSError(ctypes.get_errno(), f"mount_setattr {path}")


def _folders(service: dict[str, list[str]]) -> list[str]:
    """Make the unit's own folders, and return them."""
    user = pwd.getpwnam(service["User"][0])
    made = []
    for kind, above in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
        for name in service.get(kind, []):
            path = Path(above) / name
            path.mkdir(exist_ok=True)
            os.chown(path, user.pw_uid, user.pw_gid)
            path.chmod(int(service[f"{kind}Mode"][0], 8))
            made.append(str(path))
    return made


def _hide_files(service: dict[str, list[str]], writable: list[str]) -> None:
    """Give the unit its own view of the files."""
    if _LIBC.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", "/", "", _MS["rec"] | _MS["private"])
    for path in writable:
        _mount(path, path, "", _MS["bind"] | _MS["rec"])
    if "ProtectSystem" in service:
        _set_read_only("/", on=True)
        for path in [*writable, "/dev", "/proc"]:
            _set_read_only(path, on=False)
    if "PrivateTmp" in service:
        for path in ("/tmp", "/var/tmp"):
            _mount("tmpfs", path, "tmpfs", _MS["nosuid"] | _MS["nodev"], "mode=1777")
    if "ProtectHome" in service:
        for path in ("/home", "/root"):
            _mount("tmpfs", path, "tmpfs", _MS["ro"] | _MS["nosuid"], "mode=0000")
    if "ProtectProc" in service:
        subset = ",subset=pid" if "ProcSubset" in service else ""
        _mount("proc", "/proc", "proc", _MS["nosuid"] | _MS["nodev"] | _MS["noexec"], f"hidepid=invisible{subset}")
    if "ProtectKernelTunables" in service and "ProcSubset" not in service:
        _mount("/proc/sys", "/proc/sys", "", _MS["bind"])
        _set_read_only("/proc/sys", on=True)
    if "PrivateDevices" in service:
        _few_devices()


def _few_devices() -> None:
    """Leave only the devices that are none of hardware, and the shared memory."""
    keep = ("null", "zero", "full", "random", "urandom", "tty")
    held = {name: os.open(f"/dev/{name}", os.O_PATH) for name in (*keep, "shm")}
    _mount("tmpfs", "/dev", "tmpfs", _MS["nosuid"], "mode=0755")
    for name, number in held.items():
        path = Path("/dev") / name
        path.mkdir() if name == "shm" else path.touch()
        _mount(f"/proc/self/fd/{number}", str(path), "", _MS["bind"])
        os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        Path(f"/dev/{name}").symlink_to(f"/proc/self/fd/{number}")
    Path("/dev/fd").symlink_to("/proc/self/fd")


def _limit(service: dict[str, list[str]]) -> None:
    # A container's root may lack CAP_SYS_RESOURCE, which both limits need.
    files = min(int(service["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(int(service["UMask"][0], 8))
    for score in service.get("OOMScoreAdjust", []):
        with contextlib.suppress(PermissionError):
            Path("/proc/self/oom_score_adj").write_text(score)


def _own_users(uid: int, gid: int) -> None:
    """Enter a user namespace that has root and the unit's user only; another process of root writes its maps."""
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    target = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.close(ready_write)
        if not os.read(ready_read, 1):
            os._exit(1)  # the other process has failed
        Path(f"/proc/{target}/uid_map").write_text(f"0 0 1\n{uid} {uid} 1\n")
        Path(f"/proc/{target}/gid_map").write_text(f"0 0 1\n{gid} {gid} 1\n")
        os.write(done_write, b"x")
        os._exit(0)
    if _LIBC.unshare(_NEW_USERS):
        raise OSError(ctypes.get_errno(), "unshare users")
    os.write(ready_write, b"x")
    os.read(done_read, 1)
    os.waitpid(helper, 0)


def confine(unit: Path, command: list[str]) -> None:
    """Become the process of the unit that runs this command. Does not return."""
    service = read(unit)
    user = pwd.getpwnam(service["User"][0])
    if grp.getgrgid(user.pw_gid).gr_name != service["Group"][0]:
        raise SystemExit(f"{unit}: the group of {service['User'][0]} is not {service['Group'][0]}")
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    environment |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell}
    environment |= environment_of(service)
    if "NOTIFY_SOCKET" in os.environ:
        environment["NOTIFY_SOCKET"] = os.environ["NOTIFY_SOCKET"]
    if "MAINPID" in os.environ:
        environment["MAINPID"] = os.environ["MAINPID"]
    source = Path(__file__).read_text()
    _limit(service)
    text = unit.read_text()
    _hide_files(service, _folders(service))
    os.chdir("/")
    os.setgroups([user.pw_gid])
    if "PrivateUsers" in service:
        _own_users(user.pw_uid, user.pw_gid)
    rights = [f"+{name.removeprefix('CAP_').lower()}" for name in service["CapabilityBoundingSet"][0].split()]
    sets = ",".join(["-all", *rights])
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--keep-groups", "--no-new-privs"]
    become += [f"--inh-caps={sets}", f"--ambient-caps={sets}", f"--bounding-set={sets}"]
    os.execvpe("setpriv", [*become, "/usr/bin/python3", "-c", source, "--filter", text, *command], environment)


def _sets() -> dict[str, list[str]]:
    """Return systemd's sets of system calls, each with the calls and sets in it."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    for line in shown.stdout.splitlines():
        if line.startswith("@"):
            found[line.strip()] = members = []
        elif (word := line.strip()) and not word.startswith("#") and found:
            members.append(word)
    return found


def _calls(names: list[str], sets: dict[str, list[str]]) -> set[str]:
    """Return the system calls in sets such as @system-service."""
    plain = {name for name in names if not name.startswith("@")}
    return plain.union(*(_calls(sets[name], sets) for name in names if name.startswith("@")))


class _Condition(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


_NE, _LT, _EQ, _GT, _MASKED = 1, 2, 4, 6, 7


class _Filter:
    """A seccomp filter of libseccomp, which systemd uses too."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Condition),
        ]  # fmt: skip
        self._library.seccomp_load.argtypes = [ctypes.c_void_p]
        self._context = self._library.seccomp_init(otherwise)

    def add(self, action: int, call: str, *conditions: tuple[int, int, int, int]) -> None:
        """Add a rule; a call that this machine does not have is left out."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            rows = (_Condition * max(1, len(conditions)))(*(_Condition(*row) for row in conditions))
            self._library.seccomp_rule_add_array(self._context, action, number, len(conditions), rows)

    def load(self) -> None:
        """Set the filter for this process for good."""
        if code := self._library.seccomp_load(self._context):
            raise OSError(-code, "seccomp_load")


def _refusals(service: dict[str, list[str]]) -> _Filter:
    """Return the filter of what single directives refuse."""
    made = _Filter(_ALLOW)
    if "MemoryDenyWriteExecute" in service:
        made.add(_EPERM, "mmap", (2, _MASKED, 6, 6))
        made.add(_EPERM, "mprotect", (2, _MASKED, 4, 4))
        made.add(_EPERM, "pkey_mprotect", (2, _MASKED, 4, 4))
        made.add(_EPERM, "shmat", (2, _MASKED, 0o100000, 0o100000))
    allowed = sorted(_FAMILIES[name] for name in service["RestrictAddressFamilies"][0].split())
    for family in range(50):
        if family not in allowed:
            made.add(_EPERM, "socket", (0, _EQ, family, 0))
    if "RestrictNamespaces" in service:
        for bit in range(32):
            if _NAMESPACE_FLAGS >> bit & 1:
                made.add(_EPERM, "unshare", (0, _MASKED, 1 << bit, 1 << bit))
                made.add(_EPERM, "clone", (0, _MASKED, 1 << bit, 1 << bit)) if bit > 7 else None
        made.add(0x00050000 | 38, "clone3")  # ENOSYS, as systemd does: its flags cannot be seen
        made.add(_EPERM, "setns")
    return made


def filtered(text: str, command: list[str]) -> None:
    """Load the unit's filters and become its command. Does not return."""
    path = Path(f"/proc/self/fd/{_memory(text)}")
    service = read(path)
    allowed: set[str] = set()
    sets = _sets()
    for value in service["SystemCallFilter"]:
        found = _calls(value.removeprefix("~").split(), sets)
        allowed = allowed - found if value.startswith("~") else allowed | found
    allow = _Filter(_EPERM)
    for call in allowed | {"execve", "exit", "exit_group", "rt_sigreturn"}:
        allow.add(_ALLOW, call)
    _refusals(service).load()
    allow.load()
    os.execvp(command[0], command)


def _memory(text: str) -> int:
    number = os.memfd_create("unit")
    os.write(number, text.encode())
    return number


if __name__ == "__main__":
    if sys.argv[1] == "--filter":
        filtered(sys.argv[2], sys.argv[3:])
    else:
        confine(Path(sys.argv[1]), sys.argv[2:])

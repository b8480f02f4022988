"""Set up a cluster on three empty hosts by their README.md files alone, and say which step failed.

Called by scripts/three-hosts as root, in a mount namespace of its own. A host is a network, process and mount namespace. Its
root is an overlay of this machine's, so it has Debian's packages, and nothing that it writes leaves the overlay. It has no
systemd: small_systemd.py runs the units with their users, files, rights and system calls. Nothing of the machine is changed.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve()
_REPOSITORY = _HERE.parents[2]
_HOSTS = {"one": "10.0.0.1", "two": "10.0.0.2", "three": "10.0.0.3"}
_DATABASES = 2  # the step that starts them
_CLIENT = "10.0.0.254"
_NAME = "films.three-hosts.test"
# What the operator brings: a certificate of the public name, and hosts that trust the authority that signed it.
_CERTIFICATE = f"""
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={_NAME} -keyout KEY.pem -out request.pem
echo subjectAltName=DNS:{_NAME} > names
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out CHAIN.pem
cat ca.pem >> /etc/ssl/certs/ca-certificates.crt
"""
_WITHIN_S = 90.0
_SUDO = '#!/bin/sh\n[ "$1" = -u ] || exec "$@"\nuser=$2\nshift 2\nexec runuser -u "$user" -- "$@"\n'
_INIT = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
while True:
    try: os.wait()
    except ChildProcessError: signal.sigtimedwait({signal.SIGCHLD}, 1)
"""
# Not by chroot: the kernel lets no process below one make a user namespace, which PrivateUsers= needs.
_BOOT = (
    "cd {root} && mkdir -p .before && pivot_root . .before && cd / && mount -t proc proc /proc && umount -l /.before "
    "&& mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -p /run/systemd/system "
    "&& ip link set lo up && exec /usr/bin/python3 -c '{init}'"
)


class Failed(Exception):
    """A step of the walk-through did not do what its page says."""


@dataclass
class Host:
    """One host: its root folder as seen from outside, and its first process."""

    name: str
    root: Path
    pid: int

    def run(self, script: str, folder: str = "/root") -> subprocess.CompletedProcess[str]:
        """Run a shell script on the host."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--pid", "--mount"]
        return run([*enter, "/bin/bash", "-c", f"cd {folder}\n{script}"])

    def must(self, script: str, folder: str = "/root") -> str:
        """Run a shell script on the host and return what it printed. Raises: Failed."""
        done = self.run(script, folder)
        if done.returncode:
            raise Failed(f"{self.name}: `{script}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command with the variables of a fresh login, and a deadline."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL
    )


def must(*command: str) -> str:
    """Run a command on this machine and return what it printed. Raises: Failed."""
    done = run(list(command))
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def overlay(work: Path, name: str, *below: Path) -> Path:
    """Return the root of a system whose changes lie in a layer of its own, above others and this machine's."""
    parts = {part: work / name / part for part in ("layer", "work", "root")}
    for part in parts.values():
        part.mkdir(parents=True)
    lower = ":".join(str(path) for path in (*below, Path("/")))
    options = f"lowerdir={lower},upperdir={parts['layer']},workdir={parts['work']}"
    must("mount", "-t", "overlay", "overlay", "-o", options, str(parts["root"]))
    for folder in ("dev", "sys"):
        must("mount", "--rbind", f"/{folder}", str(parts["root"] / folder))
    return parts["root"]


def programs(work: Path) -> Path:
    """Install Matinee in a layer, by the commands of docs/operations.md; return the layer."""
    root = overlay(work, "programs")
    must("mount", "-t", "proc", "proc", str(root / "proc"))
    shutil.rmtree(root / "etc/matinee", ignore_errors=True)
    target = root / "opt/matinee"
    target.mkdir(parents=True, exist_ok=True)
    names = must("git", "-C", str(_REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if (_REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_REPOSITORY / name, target / name)
    page = (_REPOSITORY / "docs/operations.md").read_text()
    for command in re.findall(r"^sudo (/opt/matinee/scripts/\S+)", page, re.MULTILINE):
        must("chroot", str(root), command)
    tools = root / "usr/local/bin"
    for name, text in {
        "sudo": _SUDO,
        "systemctl": f'#!/bin/sh\nexec /usr/bin/python3 {_HERE.with_name("small_systemd.py")} "$@"\n',
    }.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return work / "programs/layer"


def rendered(work: Path, balancer: str) -> Path:
    """Render the example of three hosts as docs/operations.md says; return the folder."""
    folder = work / "programs/root/root"
    must(
        "chroot",
        str(work / "programs/root"),
        "/bin/sh",
        "-ec",
        f"cd /root; /opt/matinee/.venv/bin/matinee cluster topology --ha --redis --balancer {balancer} > topology.toml",
    )
    file = folder / "topology.toml"
    file.write_text(file.read_text().replace("https://movies.example.org", f"https://{_NAME}"))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < 45_000:  # a container may not raise it, and HAProxy does not start with fewer files than it may need
        file.write_text(re.sub(r"client_connections = \d+", f"client_connections = {most // 3}", file.read_text()))
    must("chroot", str(work / "programs/root"), "/bin/sh", "-ec", "cd /root; /opt/matinee/.venv/bin/matinee cluster render OUT")
    return folder / "OUT"


def switch() -> int:
    """Make the network between the hosts, with a client on it; return the process that holds it."""
    holder = subprocess.Popen(["unshare", "--net", "--kill-child", "--fork", "sleep", "infinity"])
    pid = child_of(holder.pid)
    for words in (
        "link set lo up",
        "link add bridge type bridge",
        "link set bridge up",
        f"address add {_CLIENT}/24 dev bridge",
    ):
        must("nsenter", f"--target={pid}", "--net", "ip", *words.split())
    return pid


def child_of(pid: int) -> int:
    """Return the first child of a process, as soon as it has one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return int(found[0])
        time.sleep(0.01)
    raise Failed(f"process {pid} started no other")


def boot(work: Path, name: str, layer: Path, network: int) -> Host:
    """Start an empty host, with Debian's packages, Matinee and Patroni, on the network."""
    root = overlay(work, name, layer)
    script = _BOOT.format(root=root, init=_INIT)
    flags = ["--net", "--pid", "--fork", "--kill-child", "--mount", "--propagation=private"]
    holder = subprocess.Popen(["unshare", *flags, "/bin/sh", "-ec", script])
    pid = child_of(holder.pid)
    deadline = time.monotonic() + 10
    while not Path(f"/proc/{pid}/comm").read_text().startswith("python") and time.monotonic() < deadline:
        time.sleep(0.01)
    link = f"host-{name}"
    must(
        "nsenter",
        f"--target={network}",
        "--net",
        "ip",
        "link",
        "add",
        link,
        "master",
        "bridge",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        str(pid),
    )
    must("nsenter", f"--target={network}", "--net", "ip", "link", "set", link, "up")
    host = Host(name, root, pid)
    host.must(f"ip address add {_HOSTS[name]}/24 dev eth0 && ip link set eth0 up")
    return host


@dataclass
class Step:
    """One section of a host's README.md: its commands, the command that checks it, and the words that this prints."""

    number: int
    title: str
    commands: str
    check: str
    expected: list[str]


def steps_of(text: str) -> list[Step]:
    """Return the steps of a README.md in their order."""
    found = []
    for section in text.split("\n## ")[1:]:
        title = section.splitlines()[0]
        commands = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
        check, _, told = section.partition("\nCheck: ")[2].partition(" prints " if " prints " in section else " shows ")
        expected = re.findall(r"`([^`]+)`", re.split(r"\.\s", told, maxsplit=1)[0])
        found.append(Step(int(title.split(".")[0]), title, commands, check.strip().strip("`"), expected if check else []))
    return found


def check(host: Host, step: Step) -> None:
    """Wait until the check of a step prints what its page says. Raises: Failed with what it printed last."""
    deadline = time.monotonic() + _WITHIN_S
    while step.check:
        done = host.run(step.check)
        if done.returncode == 0 and all(word in done.stdout for word in step.expected):
            return
        if time.monotonic() > deadline:
            shown = done.stdout + done.stderr + host.run("tail -n 15 /var/log/units/*").stdout
            raise Failed(f"{host.name}, {step.title}: `{step.check}` does not print {step.expected}, but:\n{shown}")
        time.sleep(0.5)


def install(host: Host, folder: Path) -> None:
    """Copy a host's folder to it and install it, twice. Raises: Failed when the second time changes something."""
    target = host.root / "root/matinee"
    shutil.copytree(folder / host.name, target)
    host.must("sudo ./install --dry-run && sudo ./install", "/root/matinee")
    again = host.must("sudo ./install", "/root/matinee")
    if again.splitlines()[-1] != "Everything is as rendered: nothing to change.":
        raise Failed(f"{host.name}: a second installation changed something:\n{again}")


def follow(hosts: list[Host], folder: Path) -> None:
    """Do each step on all hosts before the next one begins, as the pages say."""
    pages = {host.name: steps_of((folder / host.name / "README.md").read_text()) for host in hosts}
    numbers = sorted({step.number for page in pages.values() for step in page})
    for number in numbers:
        todo = [(host, step) for host in hosts for step in pages[host.name] if step.number == number]
        for host, step in todo:
            say(f"{host.name}: {step.title}")
            host.must(step.commands)
        for host, step in todo:
            check(host, step)


@dataclass
class Client:
    """A client on the network of the hosts, which knows the public name only."""

    network: int
    authority: Path
    key: str

    def send(self, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
        """Send a request with curl; an answer of the kinds 4xx and 5xx is a failure."""
        enter = ["nsenter", f"--target={self.network}", "--net"]
        curl = ["curl", "--silent", "--show-error", "--fail-with-body", "--cacert", str(self.authority)]
        url = f"https://{_NAME}/v1/movies{path}"
        return run([*enter, *curl, "--connect-to", f"::{_HOSTS['one']}:", *words, url])

    def write(self, title: str) -> None:
        """Write a movie, again until that is acknowledged, and read it. Raises: Failed."""
        body = json.dumps({"title": title, "year": 2026})
        words = [
            "-H",
            f"Authorization: Bearer {self.key}",
            "-H",
            f"Idempotency-Key: {title}",
            "-H",
            "Content-Type: application/json",
        ]
        deadline = time.monotonic() + _WITHIN_S
        while (made := self.send(*words, "-d", body)).returncode:
            if time.monotonic() > deadline:
                raise Failed(f"{title} was not written: {made.stdout}{made.stderr}")
            time.sleep(0.5)
        read = self.send(path=f"/{json.loads(made.stdout)['id']}")
        if title not in read.stdout:
            raise Failed(f"{title} is not read: {read.stdout}{read.stderr}")


def serve(network: int, host: Host, balancer: str, databases: Step) -> None:
    """Write and read through the balancer; a drain outlives a reload, and another database leads when the leader ends."""
    printed = host.must(
        "sudo -u matinee sh -euc 'set -a; . /etc/matinee/secrets.env; . /etc/matinee/server-1.env; "
        "/opt/matinee/.venv/bin/matinee key create --name me --scope write'"
    )
    key = next(word for word in printed.split() if len(word) > 30)
    client = Client(network, host.root / "root/ca.pem", key)
    client.write("First")
    if balancer == "haproxy":
        keep_drain(host)
    say("one: the leader of the databases ends, and comes back")
    host.must("sudo systemctl stop matinee-database-1")
    client.write("Second")
    host.must("sudo systemctl start matinee-database-1")
    check(host, databases)


def keep_drain(host: Host) -> None:
    """Take a server out and reload the balancer. Raises: Failed when the server is in again."""
    socket = "sudo socat - UNIX-CONNECT:/run/matinee-balancer/admin.sock"
    host.must(f"echo 'set server read/server-2 state drain' | {socket}")
    host.must("sudo systemctl reload matinee-balancer")
    shown = host.must(f"echo 'show stat read 4 -1' | {socket} | cut -d, -f2,18")
    if "server-2,DRAIN" not in shown:
        raise Failed(f"a reload of the balancer forgot a drain:\n{shown}")


def say(words: str) -> None:
    """Print one line of progress."""
    print(words, flush=True)


def walk(work: Path, balancer: str) -> None:
    """Set up the hosts by their pages, and use the cluster. Raises: Failed at the first step that does not work."""
    say("Matinee is installed ...")
    layer = programs(work)
    folder = rendered(work, balancer)
    network = switch()
    hosts = [boot(work, name, layer, network) for name in _HOSTS]
    for host in hosts:
        say(f"{host.name}: sudo ./install, twice")
        install(host, folder)
    hosts[0].must(f"set -e; {_CERTIFICATE}")
    follow(hosts, folder)
    steps = steps_of((folder / "one/README.md").read_text())
    serve(network, hosts[0], balancer, next(step for step in steps if step.number == _DATABASES))


def main(work: Path, balancer: str = "haproxy") -> int:
    """Walk through it, with HAProxy or nginx as the balancer. Returns 0 when the cluster serves."""
    must("mount", "-t", "tmpfs", "tmpfs", str(work))
    try:
        walk(work, balancer)
    except Failed as failed:
        say(f"FAILED: {failed}")
        return 1
    say("The cluster serves: movies were written through the balancer and read again, also after the loss of the leader.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))

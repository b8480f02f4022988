"""The engines run with the users, files and system calls of their installed units, and read no other part's secrets.

confined.py applies a unit's restrictions with the kernel's own means, because a test machine has no systemd.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from matinee.ops import rendering, topology
from tests.integration.test_installing import image  # noqa: F401  a fixture
from tests.integration.test_rendering import example

_CONFINED = Path(__file__).parents[1] / "cluster" / "confined.py"
_IS_PERMITTED = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "--user", "true"], check=False).returncode == 0
pytestmark = [
    pytest.mark.sqlite_only("it is of no engine: once is enough"),
    pytest.mark.skipif(not _IS_PERMITTED, reason="only root, where namespaces are permitted, can confine a command"),
]
# The host's /etc is the installed one above this machine's; what a unit writes goes into memory.
_HOST = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/above /mnt/work
mount -t overlay -o lowerdir={etc}:/etc,upperdir=/mnt/above,workdir=/mnt/work overlay /etc
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mount -t tmpfs -o mode=0755 tmpfs /run
in_unit() { unit=$1; shift; /usr/bin/python3 {confined} /etc/systemd/system/matinee-$unit.service "$@"; }
{script}
"""
_LIST = 'find /etc/matinee -type f -readable -printf "%P " | tr " " "\\n" | sort'
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def everything(balancer: str) -> topology.Topology:
    """Return a cluster that has each role on its first host."""
    made = example(balancer)
    places = tuple(replace(p, ports={**p.ports, "redis_port": 6380}) if p.role == "front" else p for p in made.places)
    return replace(made, places=(*places, topology.Place("sentinel", "sentinel", "one", "127.0.0.2", {"port": 26379})))


@pytest.fixture
def on_host(tmp_path: Path, image: Path) -> Run:  # noqa: F811
    """Return what runs a script on the first host, where `in_unit NAME COMMAND` runs a command as a unit does."""

    def run(script: str, balancer: str = "haproxy") -> subprocess.CompletedProcess[str]:
        rendering.render(everything(balancer), "systemd", tmp_path / "out")
        subprocess.run([tmp_path / "out/one/install", "--root", image], check=True, capture_output=True, timeout=60)
        text = _HOST.replace("{etc}", f"{image}/etc").replace("{confined}", str(_CONFINED)).replace("{script}", script)
        command = ["unshare", "--mount", "--propagation=private", "/bin/bash", "-euc", text]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_a_unit_reads_its_own_files_and_none_of_another_part(on_host: Run) -> None:
    expected = {
        # The same user runs both.
        "balancer": "balancer.cfg front.cfg tls/balancer.pem tls/front.pem tls/public.pem",
        "database-1": "database-1.yml patroni.env tls/database-1.key",
        "etcd-1": "etcd-1.yml tls/etcd-1.key",
        "redis": "redis.conf sentinel.conf tls/redis.key tls/sentinel.key",
        "server-1": "secrets.env server-1.env",
    }

    script = f"for unit in {' '.join(expected)}; do echo $unit: $(in_unit $unit /bin/sh -c '{_LIST}'); done"
    done = on_host(f"/etc/matinee/public-certificate placeholder >/dev/null; {script}")

    read = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert {
        unit: " ".join(file for file in files.split() if not file.endswith(".crt")) for unit, files in read.items()
    } == expected


def test_a_unit_has_no_rights_and_writes_to_its_own_folders_only(on_host: Run) -> None:
    done = on_host(
        "in_unit front /bin/sh -c '"
        "grep CapBnd /proc/self/status; for f in /etc/x /var/lib/x /usr/x /run/x; do touch $f 2>/dev/null && echo $f; done;"
        'touch /run/matinee-front/x /var/lib/matinee-front/x /tmp/x && echo own; ls /dev | tr "\\n" " "\''
    )

    lines = ["CapBnd:\t0000000000000000", "own", "fd full null random shm stderr stdin stdout tty urandom zero "]
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")


def test_haproxy_takes_its_installed_files_as_its_units_user(on_host: Run) -> None:
    make = "/etc/matinee/public-certificate placeholder >/dev/null"
    done = on_host(
        make + "; for unit in balancer front; do in_unit $unit /usr/sbin/haproxy -c -q -f /etc/matinee/$unit.cfg; done"
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_nginx_takes_its_installed_file_as_its_units_user(on_host: Run) -> None:
    make = "/etc/matinee/public-certificate placeholder >/dev/null"
    done = on_host(f"{make}; in_unit balancer /usr/sbin/nginx -t -q -c /etc/matinee/balancer.conf", "nginx")

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_redis_and_sentinel_start_as_their_units_user_and_sentinel_gets_a_copy_to_write_to(on_host: Run) -> None:
    done = on_host(
        "in_unit redis timeout 60 /usr/bin/redis-server /etc/matinee/redis.conf --port 0 --unixsocket /tmp/r "
        "| grep -q -m1 'ready to accept'; echo redis;"
        "eval in_unit sentinel $(sed -n s/ExecStartPre=//p /etc/systemd/system/matinee-sentinel.service);"
        "stat -c '%a %U %n' /var/lib/matinee-sentinel/*"
    )

    folder = "/var/lib/matinee-sentinel"
    assert done.stdout.splitlines() == ["redis", f"600 redis {folder}/seed.conf", f"600 redis {folder}/sentinel.conf"]
    assert done.stderr == ""

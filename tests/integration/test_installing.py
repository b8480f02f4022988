"""A rendered host is installed by its own script: owners, modes, users; a second run and a refused one change nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from matinee.ops import rendering, topology
from tests.integration.test_rendering import example

pytestmark = [
    pytest.mark.sqlite_only("it is of no engine: once is enough"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users"),
]
_INSTALLED = {
    "etc/matinee": "755 root:root",
    "etc/matinee/balancer.cfg": "640 root:haproxy",
    "etc/matinee/database-1.yml": "640 root:postgres",
    "etc/matinee/etcd-1.yml": "640 root:etcd",
    "etc/matinee/front.cfg": "640 root:haproxy",
    "etc/matinee/owner.env": "600 root:root",
    "etc/matinee/patroni.env": "640 root:postgres",
    "etc/matinee/public-certificate": "700 root:root",
    "etc/matinee/redis.conf": "640 root:redis",
    "etc/matinee/roles.sql": "600 root:root",
    "etc/matinee/secrets.env": "640 root:matinee",
    "etc/matinee/server-1.env": "640 root:matinee",
    "etc/matinee/tls": "755 root:root",
    "etc/matinee/tls/balancer.pem": "640 root:haproxy",
    "etc/matinee/tls/ca.crt": "644 root:root",
    "etc/matinee/tls/database-1.crt": "644 root:postgres",
    "etc/matinee/tls/database-1.key": "640 root:postgres",
    "etc/matinee/tls/etcd-1.crt": "644 root:etcd",
    "etc/matinee/tls/etcd-1.key": "640 root:etcd",
    "etc/matinee/tls/front.pem": "640 root:haproxy",
    "etc/matinee/tls/redis.crt": "644 root:redis",
    "etc/matinee/tls/redis.key": "640 root:redis",
    "etc/systemd/system/matinee-balancer.service": "644 root:root",
    "etc/systemd/system/matinee-database-1.service": "644 root:root",
    "etc/systemd/system/matinee-etcd-1.service": "644 root:root",
    "etc/systemd/system/matinee-front.service": "644 root:root",
    "etc/systemd/system/matinee-redis.service": "644 root:root",
    "etc/systemd/system/matinee-server-1.service": "644 root:root",
}
Install = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return the root of a system that has users, and an /etc whose owner and mode are its own."""
    root = tmp_path / "image"
    (root / "etc").mkdir(parents=True)
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)
    os.chown(root / "etc", 7, 7)
    (root / "etc").chmod(0o751)
    return root


@pytest.fixture
def install(tmp_path: Path, image: Path) -> Install:
    """Return what runs the script of the first host."""
    rendering.render(example(), "systemd", tmp_path / "out")

    def run(*options: str, root: Path | None = image) -> subprocess.CompletedProcess[str]:
        target = ["--root", str(root)] if root else []
        command = [str(tmp_path / "out/one/install"), *target, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def names(root: Path, kind: str) -> dict[int, str]:
    """Return the names of the users or groups of an image by their numbers."""
    rows = [line.split(":") for line in (root / "etc" / kind).read_text().splitlines()]
    return {int(row[2]): row[0] for row in rows}


def owned(root: Path) -> dict[str, str]:
    """Return mode and owner of everything below two folders of an image."""
    users, groups = names(root, "passwd"), names(root, "group")
    found = [root / "etc/matinee", *(root / "etc/matinee").rglob("*"), *(root / "etc/systemd/system").glob("*")]
    return {
        str(path.relative_to(root)): f"{at.st_mode & 0o7777:o} {users[at.st_uid]}:{groups[at.st_gid]}"
        for path in found
        for at in [path.stat()]
    }


def snapshot(root: Path) -> dict[str, tuple[int, int, int, int]]:
    """Return what a change of anything in a folder changes."""
    return {str(path): (s.st_ino, s.st_mode, s.st_uid, s.st_mtime_ns) for path in root.rglob("*") for s in [path.lstat()]}


def test_each_file_is_installed_with_its_owner_and_mode_and_etc_keeps_its_own(install: Install, image: Path) -> None:
    done = install()

    assert (done.returncode, done.stderr) == (0, "")
    assert owned(image) == _INSTALLED
    at = (image / "etc").stat()
    assert (at.st_uid, at.st_gid, at.st_mode & 0o7777) == (7, 7, 0o751)
    assert "matinee" in names(image, "passwd").values()


def test_a_second_installation_changes_nothing_and_says_so(install: Install, image: Path) -> None:
    install()
    before = snapshot(image)

    done = install()

    assert done.stdout.splitlines()[-1] == "Everything is as rendered: nothing to change."
    assert (done.returncode, snapshot(image)) == (0, before)


def test_an_installation_repairs_one_mode_and_one_text_and_nothing_else(install: Install, image: Path) -> None:
    install()
    (image / "etc/matinee/redis.conf").chmod(0o644)
    (image / "etc/matinee/front.cfg").write_text("something else")

    done = install()

    told = [line.replace(str(image), "") for line in done.stdout.splitlines() if line.startswith("replaced")]
    assert told == ["replaced /etc/matinee/front.cfg (0640 root:haproxy)", "replaced /etc/matinee/redis.conf (0640 root:redis)"]
    assert owned(image) == _INSTALLED


def test_a_dry_run_lists_every_file_and_changes_nothing(install: Install, image: Path) -> None:
    before = snapshot(image)

    done = install("--dry-run")

    listed = {line.split()[3].removeprefix(f"{image}/") for line in done.stdout.splitlines() if "dry run: installed" in line}
    assert listed == _INSTALLED.keys() - {"etc/matinee", "etc/matinee/tls"}
    assert (done.returncode, snapshot(image)) == (0, before)


def test_a_file_that_is_missing_stops_the_installation_before_its_first_change(
    install: Install, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "out/one/etc/matinee/redis.conf").unlink()
    before = snapshot(image)

    done = install()

    assert (done.returncode, done.stdout, snapshot(image)) == (2, "", before)
    missing = tmp_path / "out/one/etc/matinee/redis.conf"
    assert done.stderr == f"Nothing was changed:\n  - {missing} is missing: copy the whole folder again.\n"


def test_a_folder_that_others_may_write_to_gets_no_secrets(install: Install, image: Path) -> None:
    (image / "etc/matinee").mkdir()
    (image / "etc/matinee").chmod(0o777)

    done = install()

    assert done.returncode == 2
    assert "only root may write to it" in done.stderr
    assert list((image / "etc/matinee").iterdir()) == []


def test_an_installation_on_another_host_names_the_address_that_is_missing(tmp_path: Path) -> None:
    made = topology.example(servers=3, followers=2, high_availability=True, balancer="haproxy", redis=True)
    rendering.render(made, "systemd", tmp_path)

    done = subprocess.run([tmp_path / "two/install"], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert "This machine is not host two: it does not have the address 10.0.0.2." in done.stderr


def test_a_program_that_only_root_can_run_is_named_before_anything_changes(tmp_path: Path) -> None:
    program = tmp_path / "matinee"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    rendering.render(replace(example(), program=str(program)), "systemd", tmp_path / "out")

    command = [tmp_path / "out/three/install", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"Only root can run {program}: chmod -R go+rX its folder" in done.stderr


def test_a_unit_that_is_no_longer_part_of_the_host_is_named_and_kept(install: Install, image: Path) -> None:
    old = image / "etc/systemd/system/matinee-server-9.service"
    old.parent.mkdir(parents=True)
    old.write_text("[Service]\n")

    done = install()

    assert f"matinee-server-9.service is no longer part of this host: systemctl disable --now {old.name}" in done.stdout
    assert old.read_text() == "[Service]\n"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("balancer", topology.BALANCERS)
def test_shellcheck_finds_nothing_in_the_script_of_any_host(tmp_path: Path, balancer: str) -> None:
    rendering.render(example(balancer), "systemd", tmp_path)

    scripts = [str(path) for path in sorted(tmp_path.glob("*/install"))]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60, check=False)

    assert (len(scripts), done.returncode, done.stdout) == (3, 0, "")

"""Files of a catalogue are for their owner alone, whatever the umask; older ones are closed when a command starts."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from matinee import config as configuration
from matinee.cli import modes
from matinee.errors import OperatorError
from tests.processes import MATINEE, environment, matinee


def open_to_others(home: Path) -> list[str]:
    """Return what others may read, with its mode."""
    paths = [home, *home.rglob("*")]
    return [f"{path} {stat.S_IMODE(path.stat().st_mode):04o}" for path in paths if path.stat().st_mode & 0o077]


def with_umask(umask: int, home: Path, *words: str, stdin: bytes = b"") -> None:
    """Run a command under a umask."""
    subprocess.run(
        [*MATINEE, *words], env=environment(home), umask=umask, input=stdin, capture_output=True, timeout=120, check=False
    )


@pytest.mark.sqlite_only("the catalogue is a file in the data folder")
def test_with_an_open_umask_every_file_of_a_new_installation_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"

    with_umask(0, home, "migrate")
    with_umask(0, home, "import", "ndjson", "-", stdin=b'{"title": "Alien"}\n{"title": ""}\n')
    with_umask(0, home, "backup")

    assert open_to_others(home.parent) == []
    names = {path.name.partition("-")[0] for path in home.rglob("*")}
    assert names >= {"catalogue.sqlite3", "secret_key", "logs", "backups", "rejected", "catalogue", "stdin.ndjson"}


def test_an_export_to_a_named_path_follows_the_users_umask(small_catalogue: Path, tmp_path: Path) -> None:
    for umask, name in ((0o022, "open"), (0o077, "closed")):
        with_umask(umask, small_catalogue, "export", "ndjson", str(tmp_path / name))

    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("open", "closed")] == [0o644, 0o600]


@pytest.mark.sqlite_only("the catalogue is a file in the data folder")
def test_older_files_are_closed_at_the_next_command_with_one_line(small_catalogue: Path) -> None:
    (small_catalogue / "logs").mkdir()
    (small_catalogue / "logs" / "matinee.log").touch()
    for path in (small_catalogue, *small_catalogue.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    first, second = (matinee(small_catalogue, "export", "ndjson") for _ in range(2))

    assert [line for line in first.stderr.splitlines() if "could be read by others" in line] != []
    assert "could be read by others" not in second.stderr
    assert open_to_others(small_catalogue) == []


def test_a_folder_with_files_of_other_programs_keeps_its_mode(small_catalogue: Path) -> None:
    (small_catalogue / "notes.txt").touch()
    small_catalogue.chmod(0o755)

    modes.tighten(configuration.load(home=small_catalogue))

    assert stat.S_IMODE(small_catalogue.stat().st_mode) == 0o755


@pytest.mark.parametrize("is_linked", [False, True])
def test_folders_of_other_programs_are_left_as_they_are_but_for_files_with_our_names(
    small_catalogue: Path, tmp_path: Path, is_linked: bool
) -> None:
    for name in ("backups", "logs", "rejected"):
        folder = tmp_path / name if is_linked else small_catalogue / name
        (folder / "apt").mkdir(parents=True)
        if is_linked:
            (small_catalogue / name).symlink_to(folder)
        else:
            (small_catalogue / "lib").mkdir(exist_ok=True)
    foreign = [small_catalogue / name / "apt" / "a.gz" for name in ("backups", "logs", "rejected")]
    ours = [small_catalogue / "backups" / "catalogue-20260101T000000Z.sqlite3", small_catalogue / "logs" / "matinee.log"]
    for path in (*foreign, *ours):
        path.touch()
        path.chmod(0o644)
        path.parent.chmod(0o755)

    modes.tighten(configuration.load(home=small_catalogue))

    assert {stat.S_IMODE(path.stat().st_mode) for path in ours} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in foreign} == {0o644}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in (*foreign, *ours)} == {0o755}


def test_a_folder_with_a_cluster_stays_passable_for_the_user_of_postgresql(small_catalogue: Path) -> None:
    (small_catalogue / "cluster").mkdir()
    small_catalogue.chmod(0o755)

    modes.tighten(configuration.load(home=small_catalogue))

    assert stat.S_IMODE(small_catalogue.stat().st_mode) == 0o711


def test_doctor_names_a_file_that_others_may_read_with_its_mode_and_the_remedy(small_catalogue: Path) -> None:
    config = configuration.load(home=small_catalogue)
    modes.tighten(config)
    log = small_catalogue / "logs" / "matinee.log"
    log.parent.mkdir(mode=0o700)
    log.touch()
    log.chmod(0o644)

    with pytest.raises(OperatorError) as caught:
        modes.check(config)
    log.chmod(0o600)

    assert caught.value.detail == f"{log} has mode 0644, so others may read it. Run: chmod go-rwx {log}"
    assert modes.check(config).endswith("for their owner alone")


@pytest.mark.skipif(os.getuid() == 0, reason="root owns and writes everything")
def test_files_of_another_user_are_left_as_they_are() -> None:
    assert modes.private_files.close_to_others(Path("/etc/passwd")) is False

"""The folder of the balancers' sockets: one in the shared folder for temporary files is used only when it is ours alone."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from matinee import private_files
from matinee.errors import OperatorError
from matinee.ops import socket_folder

LONG = Path("/home") / ("long" * 20)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path in the folder for temporary files that a long home gets."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return socket_folder.path_of(LONG)


def test_a_long_home_has_its_sockets_in_a_folder_for_its_owner_alone(shared: Path, tmp_path: Path) -> None:
    made = [socket_folder.make(LONG), socket_folder.make(LONG)]

    assert (made, shared.parent, stat.S_IMODE(shared.lstat().st_mode)) == ([shared] * 2, tmp_path, 0o700)


def test_a_short_home_holds_its_sockets_itself(tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(dir="/tmp"))

    folder = socket_folder.make(home)

    assert folder == home / "run"
    folder.rmdir()
    home.rmdir()


def link(path: Path) -> None:
    path.with_name("elsewhere").mkdir(mode=0o700)
    path.symlink_to("elsewhere")


def opened(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


FOREIGN: dict[str, Callable[[Path], None]] = {
    "a link": link,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a file": Path.touch,
    "open to others": opened,
}


@pytest.mark.parametrize("made", FOREIGN.values(), ids=FOREIGN)
def test_a_folder_that_another_user_may_control_is_refused(shared: Path, made: Callable[[Path], None]) -> None:
    made(shared)

    with pytest.raises(OperatorError, match=f"^{shared} is not a folder of this user alone.* Remove it, or set MATINEE_HOME"):
        socket_folder.make(LONG)


def test_a_folder_of_another_user_is_refused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: shared.stat().st_uid + 1)

    with pytest.raises(OperatorError, match="another user may control"):
        socket_folder.make(LONG)


def test_a_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    target, planted = tmp_path / "target", tmp_path / "balancer.state"
    target.write_text("precious")
    planted.symlink_to(target)

    with pytest.raises(OSError, match="symbolic link"):
        private_files.write(planted, "1\n")

    assert target.read_text() == "precious"

"""The folder of one run of a server: made where it can be made, and removed when its server is gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from matinee.errors import HomeError
from matinee.ops import run_folder

_KILLED = """
import os, pathlib, signal, sys
from matinee.ops import run_folder
print(run_folder.make(pathlib.Path(sys.argv[1])), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_is_made_for_us_alone_and_removed(tmp_path: Path) -> None:
    folder = run_folder.make(tmp_path / "home" / "run")
    mode = stat.S_IMODE(folder.stat().st_mode)
    run_folder.remove(folder)

    assert (folder.parent, mode, list(folder.parent.iterdir())) == (tmp_path / "home" / "run", 0o700, [])


def test_what_a_killed_server_has_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    used = run_folder.make(tmp_path)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_dir()

    second = run_folder.make(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([used, second])
    for folder in (used, second):
        run_folder.remove(folder)


def test_a_folder_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "matinee-run-foreign"
    foreign.mkdir()
    (foreign / "lock").touch()
    monkeypatch.setattr(os, "geteuid", lambda: foreign.stat().st_uid + 1)

    run_folder.remove(run_folder.make(tmp_path))

    assert list(tmp_path.iterdir()) == [foreign]


def test_without_the_wished_folder_and_without_tmp_the_runtime_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: (_ for _ in ()).throw(FileNotFoundError(2, "No usable folder")))

    folder = run_folder.make(tmp_path / "file" / "run")

    assert folder.parent == tmp_path / "runtime" / "matinee"
    run_folder.remove(folder)


def test_without_any_place_the_reasons_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: os.devnull)

    with pytest.raises(HomeError) as refused:
        run_folder.make(tmp_path / "file" / "run")

    assert refused.value.detail == (
        f"There is no folder for the files of a running server ({tmp_path}/file/run: Not a directory; "
        "/dev/null: File exists); make MATINEE_HOME writable."
    )

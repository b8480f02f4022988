"""A worker whose parent is killed before the worker has tied itself to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cluster import orphan
from tests.processes import environment, eventually


def test_a_worker_that_starts_after_its_parent_was_killed_ends_at_once(tmp_path: Path) -> None:
    told = tmp_path / "told"

    subprocess.run([sys.executable, orphan.__file__, str(told)], env=environment(tmp_path), check=True, timeout=30)

    said = eventually(lambda: told.read_text() if told.exists() else "", bool)
    assert said == "ended with 1"

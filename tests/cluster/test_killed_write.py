"""A write that is killed between any two of its steps leaves nothing, and one that lives to its end everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.cluster import dying
from tests.cluster.catalogue_file import ask, contradictions
from tests.processes import environment


def test_a_write_that_dies_before_any_of_its_statements_leaves_no_trace(catalogue_home: Path) -> None:
    words = [sys.executable, dying.__file__]
    done = subprocess.run(words, env=environment(catalogue_home), capture_output=True, timeout=120, check=True)

    seen = json.loads(done.stdout)
    assert len(seen) > 10
    assert seen == [0] * (len(seen) - 1) + [1]
    assert contradictions(catalogue_home) == []
    assert ask(catalogue_home, "SELECT position FROM log_head") == [(1,)]
    assert ask(catalogue_home, "SELECT count(*) FROM person") == [(1,)]

"""The API keeps what its OpenAPI document promises: schemathesis, all checks, against a real server.

It is run as a stranger would run it, with the settings of schemathesis.toml, and with schemathesis_hooks.py on top. Each part
has a catalogue of its own, so that no part merges away the movies that another one changes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tests import postgres
from tests.client import Client
from tests.processes import Server, matinee

ROOT = Path(__file__).parents[2]
SEED = "20240517"

ALL_BUT_STATEFUL = "examples,coverage,fuzzing"

# Which operations, in which phases, how many examples each, and the least number of cases that this must come to. How long the
# stories get depends on what the server answers, times and ids of requests included; so they come on top.
PARTS = {
    "reading": (["--include-method", "GET"], ALL_BUT_STATEFUL, 100, 1_440),
    "adding": (["--include-operation-id", "create_movie"], ALL_BUT_STATEFUL, 200, 745),
    "replacing": (["--include-operation-id", "replace_movie"], ALL_BUT_STATEFUL, 200, 755),
    "patching": (["--include-operation-id", "patch_movie"], ALL_BUT_STATEFUL, 250, 1_355),
    "ending": (["--include-operation-id-regex", "merge_movie|delete_movie"], ALL_BUT_STATEFUL, 320, 705),
    "stories": ([], "stateful", 100, 50),
}


def test_the_document_is_openapi_3_1(client: Client) -> None:
    document = client.get("/openapi.json").json()

    assert [f"{error.instance_path}: {error.message}" for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_all_parts_together_are_at_least_5000_cases() -> None:
    assert sum(least for *_, least in PARTS.values()) >= 5_000


@pytest.mark.parametrize("part", PARTS)
def test_every_answer_is_as_documented(server: Server, part: str) -> None:
    operations, phases, examples, least = PARTS[part]
    if postgres.wanted():  # the answers are made by the same code: what is behind it is looked at, less thoroughly
        examples, least = examples // 4, least // 4
    key = matinee(server.home, "key", "create", "--name", "schemathesis", "--scope", "write").stdout.strip()

    run = _schemathesis(server.url, key, *operations, "--phases", phases, "--max-examples", str(examples))

    assert run.returncode == 0, run.stdout[-20_000:]
    generated = re.search(r"(\d+) generated, \1 passed", run.stdout)
    assert generated, run.stdout[-2_000:]
    assert int(generated[1]) >= least


def _schemathesis(url: str, key: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{url}/openapi.json",
        "--seed",
        SEED,
        "--no-color",
        *words,
    ]
    hooks = {
        "SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "MATINEE_KEY": key,
        "PYTHONHASHSEED": "0",
    }
    return subprocess.run(command, cwd=ROOT, env=os.environ | hooks, capture_output=True, text=True, timeout=600, check=False)

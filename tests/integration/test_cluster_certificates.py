"""`cluster certificates`: what it prints, which exit code it has, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from matinee.cli.commands import application
from matinee.errors import OperatorError
from matinee.ops import certificates, topology
from matinee.ops.wanted_certificates import wanted_certificates

pytestmark = pytest.mark.sqlite_only("it is of no engine: once is enough")
_PLAIN = topology.example(servers=1, followers=1, high_availability=False, balancer="haproxy", redis=False)
NODES = ["balancer", "server-1", "database-1", "database-2"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a topology, which is the current one."""
    (tmp_path / "topology.toml").write_text(topology.write(_PLAIN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MATINEE_HOME", str(tmp_path / "home"))
    return tmp_path


def run(*words: str) -> Result:
    """Run the command in this process."""
    command = ["cluster", "certificates"]
    return CliRunner().invoke(application(command), [*command, *words])


def rows(*words: str) -> dict[str, str]:
    """Run the command; return what it did with each certificate."""
    ended = run("--json", *words)
    assert ended.exit_code == 0, ended.output
    return {row["name"]: row["done"] for row in json.loads(ended.stdout)}


def test_it_makes_the_certificates_of_the_topology_in_the_folder_of_render(folder: Path) -> None:
    ended = run("--out", "out")

    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert (ended.exit_code, lines[0]) == (0, ["name", "hosts", "expires", "days left", "what was done"])
    assert [(line[0], line[3], line[4]) for line in lines[1:]] == [
        ("ca", "3652", "made"),
        *((name, "364", "made") for name in NODES),
    ]
    assert lines[2][1] == "10.0.0.1 balancer localhost 127.0.0.1"
    made = {path.name for path in (folder / "out" / "certificates").iterdir()}
    assert made == {".lock", "ca.crt", "ca.key", *(f"{name}.{end}" for name in NODES for end in ("crt", "key", "pem"))}
    assert "Never copy ca.key to a host" in ended.stderr


def test_json_names_every_certificate_with_its_hosts_end_and_files(folder: Path) -> None:
    first, second = [json.loads(run("--json").stdout) for _ in range(2)]

    files = [f"{folder}/rendered/certificates/ca.{end}" for end in ("crt", "key")]
    assert first[0] | {"expires": ""} == {
        "name": "ca", "hosts": [], "expires": "", "days_left": 3652, "done": "made", "files": files,
    }  # fmt: skip
    assert [(row["name"], row["done"], row["files"]) for row in second] == [(name, "kept", []) for name in ["ca", *NODES]]
    assert [row["expires"] for row in second] == [row["expires"] for row in first]


def test_a_new_ca_takes_three_runs(folder: Path) -> None:
    rows()

    steps = [rows(*words) for words in (["--new-ca"], [], ["--drop-old-ca"], [])]

    assert [step["ca"] for step in steps] == [
        "made beside the old one", "kept; the old CA is still trusted", "the old one was dropped", "kept",
    ]  # fmt: skip
    assert [step["balancer"] for step in steps] == [
        "renewed: the CA changes", "renewed: another CA signed it", "renewed: the CA changes", "kept",
    ]  # fmt: skip
    assert rows("--renew")["balancer"] == "renewed: as requested"


def test_the_exit_code_is_1_while_a_certificate_is_about_to_end(folder: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3653 - 10)
    certificates.ensure(folder / "rendered" / "certificates", "matinee", wanted_certificates(_PLAIN), now=long_ago)

    ended = run()

    assert ended.exit_code == 1
    assert f"Fewer than 14 days left: {', '.join(['ca', *NODES])}. Renew with --renew; for ca use --new-ca." in ended.stderr


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--renew", "--new-ca"], "--renew, --new-ca and --drop-old-ca are steps of their own; give one at a time."),
        (["--topology", "nix"], "There is no nix; `matinee cluster topology > nix` writes one to begin with."),
        (["--out", "topology.toml"], "topology.toml is what this command reads; name another file for its output."),
        (["--drop-old-ca"], "There is no CA in {folder}/rendered/certificates; make it with `matinee cluster certificates`."),
        (
            ["--new-ca"],
            "There is no CA in {folder}/rendered/certificates to replace; make it with `matinee cluster certificates`.",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_type(folder: Path, words: list[str], refusal: str) -> None:
    ended = run(*words)

    assert isinstance(ended.exception, OperatorError)
    assert ended.exception.detail == refusal.format(folder=folder)

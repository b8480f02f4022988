"""A host's page has each step in its order, with what to type and what then shows that it worked."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee.ops import rendering, topology
from tests.cluster.three_hosts import Step, steps_of

pytestmark = pytest.mark.sqlite_only("it is of no engine: once is enough")


def page(tmp_path: Path, host: str, *, high_availability: bool = True) -> list[Step]:
    """Return the steps of a host of the example."""
    made = topology.example(
        servers=3, followers=2, high_availability=high_availability, balancer="haproxy", redis=high_availability
    )
    rendering.render(made, "systemd", tmp_path)
    return steps_of((tmp_path / host / "README.md").read_text())


def test_the_first_hosts_page_has_the_steps_in_their_order(tmp_path: Path) -> None:
    steps = page(tmp_path, "one")

    assert [step.title.partition(":")[0] for step in steps] == [
        "1. etcd-1",
        "2. database-1",
        "3. redis",
        "4. front",
        "5. Once",
        "6. server-1",
        "7. balancer",
        "8. Once",
    ]


@pytest.mark.parametrize("host", ["one", "two", "three"])
@pytest.mark.parametrize("high_availability", [True, False])
def test_each_step_says_what_to_type_and_what_shows_that_it_worked(tmp_path: Path, host: str, high_availability: bool) -> None:
    steps = page(tmp_path, host, high_availability=high_availability)

    assert [step.number for step in steps] == sorted(step.number for step in steps)
    assert all("sudo " in step.commands for step in steps)
    unchecked = [step.title for step in steps if not (step.check and step.expected)]
    assert unchecked == (["8. Once: somebody who may sign in"] if host == "one" else [])


def test_a_step_starts_the_units_of_the_host_and_no_other(tmp_path: Path) -> None:
    steps = page(tmp_path, "two")

    started = [step.commands.split()[-1] for step in steps]
    assert started == ["matinee-etcd-2", "matinee-database-2", "matinee-server-2"]

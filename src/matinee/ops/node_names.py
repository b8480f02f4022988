"""Find a node of a cluster by its name or its role. Called by cluster.py; it must never start or ask a node."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from matinee.errors import OperatorError


class Named(Protocol):
    """What every node has."""

    @property
    def name(self) -> str:
        """Return the node's name."""

    @property
    def role(self) -> str:
        """Return what the node is for; a database is a leader or a follower."""

    def state(self) -> str:
        """Return "running", "stopped" or "dead"."""


N = TypeVar("N", bound=Named)


def find(nodes: Sequence[N], name: str, *, is_any: bool) -> N:
    """Return the node of a name, or the only one of a role; `is_any`: of several the first that runs.

    Raises: OperatorError with the names that exist.
    """
    by_name = {node.name: node for node in nodes}
    if name in by_name:
        return by_name[name]
    roles = {"leader", "follower"} if name == "database" else {name}
    alike = [node for node in nodes if node.role in roles]
    if len(alike) == 1 or (alike and is_any):
        return next((node for node in alike if node.state() == "running"), alike[0])
    if alike:
        raise OperatorError(f"There are {len(alike)} nodes of the role {name}; name one: {_listed(alike)}.")
    near = difflib.get_close_matches(name, by_name, n=1)
    hint = f"did you mean {near[0]}? The" if near else "the"
    raise OperatorError(f"There is no node {name!r}; {hint} nodes are {_listed(nodes)}.")


def _listed(nodes: Sequence[Named]) -> str:
    return ", ".join(node.name for node in nodes) or "none"

"""No error that reaches a client names a server: its detail holds no words of a database, and no address."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import CapturingLogger

import matinee
from matinee.config import Config
from matinee.errors import InternalError, LeaderUnavailable, NoReaderAvailable, OperatorError
from matinee.http import problems

SENT_TO_CLIENTS = {"LeaderUnavailable", "NoReaderAvailable", "Overloaded", "Unavailable", "InternalError"}
# What details may show beside fixed words: positions and limits.
SHOWN = {"demand.min_position", "MAX_WAITING", "self._front.places.refusal"}


def calls() -> Iterator[tuple[str, ast.expr]]:
    """Yield the detail of each error of these kinds that is made anywhere, with its place."""
    for path in sorted(Path(matinee.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SENT_TO_CLIENTS and node.args:
                yield f"{path.name}:{node.lineno}", node.args[0]


def shown(detail: ast.expr) -> set[str]:
    """Return the expressions whose values a detail shows."""
    if isinstance(detail, ast.Constant):
        return set()
    parts = detail.values if isinstance(detail, ast.JoinedStr) else [ast.FormattedValue(detail, -1)]
    return {ast.unparse(part.value) for part in parts if isinstance(part, ast.FormattedValue)}


def test_the_details_of_failures_hold_fixed_words_positions_and_limits_only() -> None:
    found = dict(calls())

    assert len(found) > 15
    assert {place: shown(detail) - SHOWN for place, detail in found.items() if shown(detail) - SHOWN} == {}


def test_an_error_for_operators_is_a_fault_of_ours_to_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = CapturingLogger()
    monkeypatch.setattr(problems, "log", logger)

    shown = problems.as_matinee_error(OperatorError("10.0.0.7 does not resolve; correct DATABASE_URL."), {"path": "/"})

    assert (type(shown), shown.detail) == (
        InternalError, "Something went wrong on our side; it is in the log under this request_id."
    )  # fmt: skip
    assert "10.0.0.7" in str(logger.calls[0].kwargs["exc_info"])


@pytest.mark.parametrize("kind", [LeaderUnavailable, NoReaderAvailable])
def test_the_reason_is_logged_under_the_request_id_and_not_sent(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = CapturingLogger()
    monkeypatch.setattr(problems, "log", logger)
    scope = {"path": "/v1/movies/1", "headers": [], "matinee.request_id": "an id"}
    error = kind("It is away; try again.", reason="10.0.0.7:5432 refuses")

    answer = problems.problem_answer(scope, Config(), error)

    assert msgspec.json.decode(answer.body)["detail"] == "It is away; try again."
    assert (b"10.0.0.7" in answer.body, error.for_operators) == (
        False, "It is away; try again. The reason: 10.0.0.7:5432 refuses."
    )  # fmt: skip
    (call,) = logger.calls
    assert call.kwargs == {"reason": "10.0.0.7:5432 refuses", "path": "/v1/movies/1", "request_id": "an id"}

"""What the service's own listener tells strangers of what stands behind it: whether it is ready, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.http.health import DRAIN_VARIABLE
from matinee.storage.leader_state import leader
from tests.client import Client
from tests.processes import free_port

PUBLIC: dict[str, Any] = {"ops_public": False, "ops_address": "auto"}


@pytest.fixture
def public(small_catalogue: Path) -> Iterator[Client]:
    """Return the service as strangers reach it."""
    with Client(configuration.load(home=small_catalogue), **PUBLIC) as client:
        yield client


def test_health_on_the_services_own_listener_is_a_status_alone(public: Client) -> None:
    answers = [public.get(path) for path in ("/livez", "/readyz")]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (200, {"status": "live"}),
        (200, {"status": "ready"}),
    ]


def test_readyz_tells_strangers_no_reason(public: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drain").touch()
    monkeypatch.setenv(DRAIN_VARIABLE, str(tmp_path / "drain"))

    answer = public.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


def test_a_degraded_service_is_ready_to_strangers(public: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(public.runtime.catalogue), "degradation", lambda _: "The leader is away (10.0.0.7:5432 refuses).")

    assert public.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(("address", "is_public", "status"), [("off", True, 200), ("auto", True, 404), ("off", False, 404)])
def test_metrics_are_on_the_services_own_listener_only_when_it_is_the_only_one_and_a_setting_says_so(
    small_catalogue: Path, address: str, is_public: bool, status: int
) -> None:
    with Client(configuration.load(home=small_catalogue), ops_address=address, ops_public=is_public) as client:
        answer = client.get("/metrics")
        details = client.get("/readyz").json()

    assert (answer.status_code, "matinee_" in answer.text, "dependencies" in details) == (status, status == 200, status == 200)


def test_a_read_that_no_database_can_answer_names_none(small_catalogue: Path) -> None:
    port, password = free_port(), "swordfish"
    url = f"postgresql://matinee_reader:{password}@127.0.0.1:{port}/matinee"
    config = configuration.load(home=small_catalogue)

    with Client(config, database_url=url, follower_urls=(url,), read_timeout_ms=200, **PUBLIC) as client:
        answers = [client.get(path) for path in ("/v1/movies/1", "/v1/search?q=alien", "/readyz")]

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert answers[0].json()["detail"] == "No copy of the catalogue can be read right now; try again."
    assert [word for word in ("127.0.0.1", str(port), password, "refused") for answer in answers if word in answer.text] == []


def test_a_write_to_a_leader_that_is_away_names_no_server(public: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key = public.key
    monkeypatch.setattr(leader, "away", "connection to server at 10.0.0.7, port 5432 failed")

    answer = public.request("POST", "/v1/movies", json={}, headers={"authorization": f"Bearer {key}"})
    page = public.get("/admin/login/")

    assert answer.json()["detail"] == "The leader is away: the catalogue is read-only for now; try again."
    assert [(each.status_code, "10.0.0.7" in each.text) for each in (answer, page)] == [(503, False), (503, False)]

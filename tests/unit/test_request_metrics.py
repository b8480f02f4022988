"""Requests are counted in plain numbers and brought to the metrics together: nothing is lost, nothing counted twice."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from matinee.http.metrics import Meter

pytestmark = pytest.mark.unit
NAME = "matinee_http_request_seconds"


def shown(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_was_recorded_is_published_once() -> None:
    meter, labels = Meter(), {"method": "GET", "route": "/unit/once", "status": "200"}
    for duration_s in (0.0004, 0.002, 7.0):
        meter.record("GET", "/unit/once", 200, duration_s)

    meter.publish()
    meter.publish()

    assert shown("matinee_http_requests_total", **labels) == 3
    assert shown(f"{NAME}_count", route="/unit/once") == 3
    assert shown(f"{NAME}_sum", route="/unit/once") == pytest.approx(7.0024)


@pytest.mark.parametrize(("duration_s", "bound"), [(0.0, "0.0005"), (0.0005, "0.0005"), (0.00051, "0.001"), (9.0, "+Inf")])
def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed(duration_s: float, bound: str) -> None:
    meter, route = Meter(), f"/unit/{duration_s}"

    meter.record("GET", route, 200, duration_s)
    meter.publish()

    filled = [le for le in ("0.0005", "0.001", "2.5", "+Inf") if shown(f"{NAME}_bucket", route=route, le=le)]
    assert filled[0] == bound


def test_methods_of_strangers_are_one_series() -> None:
    meter = Meter()

    for method in ("BREW", "TEA", "BREW"):
        meter.record(method, "/unit/other", 405, 0.001)
    meter.publish()

    assert shown("matinee_http_requests_total", method="other", route="/unit/other", status="405") == 3

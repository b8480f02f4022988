"""When certificates end, as an operator meets it: a line of `doctor`, and a metric of a server with several processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from matinee.ops import certificates
from matinee.ops.certificates import Wanted
from tests.processes import eventually, matinee, start_server

pytestmark = pytest.mark.sqlite_only("it is of no engine: once is enough")
SERVER = Wanted("server-1", ("server-1",), is_client=False)


def test_doctor_fails_when_a_certificate_has_ended(small_catalogue: Path, tmp_path: Path) -> None:
    matinee(small_catalogue, "user", "create-admin", "--json")
    tls, long_ago = tmp_path / "tls", datetime.now(UTC) - timedelta(days=400)
    certificates.ensure(tls, "matinee", [], now=long_ago)
    good = matinee(small_catalogue, "doctor", MATINEE_CERTIFICATES=str(tls))
    certificates.ensure(tls, "matinee", [SERVER], now=long_ago)

    bad = matinee(small_catalogue, "doctor", MATINEE_CERTIFICATES=str(tls))

    lines = [line.split() for line in bad.stdout.splitlines() if line.split()[1] == "certificate"]
    assert (good.returncode, bad.returncode) == (0, 1)
    assert [line[:4] for line in lines] == [
        ["OK", "certificate", f"{tls}/ca.crt", "ends"],
        ["BAD", "certificate", f"{tls}/server-1.crt", "ended"],
    ]


def test_the_metrics_of_two_workers_say_once_when_each_certificate_ends(small_catalogue: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    certificates.ensure(tmp_path / "tls", "matinee", [SERVER], now=now)

    with start_server(small_catalogue, "--workers", "2", MATINEE_CERTIFICATES=str(tmp_path / "tls")) as server:
        found = eventually(lambda: ends(server.get("/metrics").text), lambda seen: len(seen) == 2)

    assert found == {name: (now + timedelta(days=days)).timestamp() for name, days in (("ca", 3653), ("server-1", 365))}


def ends(exposition: str) -> dict[str, float]:
    """Return the ends of certificates that /metrics shows."""
    families = {family.name: family for family in text_string_to_metric_families(exposition)}
    samples = (
        families["matinee_certificate_expires_seconds"].samples if "matinee_certificate_expires_seconds" in families else []
    )
    assert len({sample.labels["name"] for sample in samples}) == len(samples)
    return {sample.labels["name"]: sample.value for sample in samples}

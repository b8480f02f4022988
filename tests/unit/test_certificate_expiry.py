"""When certificates end: read from their files, named by the settings, told by `doctor` and by the metric."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import REGISTRY

from matinee.certificate_expiry import Watched, end_of, watched
from matinee.cli import health_certificates
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.http.certificate_metrics import CertificateMetrics
from matinee.ops import certificates
from matinee.ops.certificates import Wanted

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)
_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


def make(folder: Path, *names: str, at: datetime = NOW) -> Path:
    """Make a CA and certificates of these names in a folder."""
    certificates.ensure(folder, "matinee", [Wanted(name, (name,), is_client=False) for name in names], now=at)
    return folder


def metric(name: str) -> float | None:
    """Return what the metric says of a certificate."""
    return REGISTRY.get_sample_value("matinee_certificate_expires_seconds", {"name": name})


def test_the_end_of_a_certificate_is_read_from_its_file(tmp_path: Path) -> None:
    make(tmp_path, "server-1")

    ends = [end_of(Watched("", tmp_path / f"{name}.crt", is_trusted=False)) for name in ("ca", "server-1")]

    assert ends == [NOW + 3653 * DAY, NOW + 365 * DAY]  # the CA's is in 2036; both forms of time: see the system's CAs


@pytest.mark.skipif(not _SYSTEM.exists(), reason="needs the CAs of the system")
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_ca_of_the_system_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    known = x509.load_pem_x509_certificates(_SYSTEM.read_bytes())
    path = tmp_path / "one.crt"

    for certificate in known:
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        assert end_of(Watched("", path, is_trusted=False)) == certificate.not_valid_after_utc

    assert end_of(Watched("", _SYSTEM, is_trusted=True)) == max(certificate.not_valid_after_utc for certificate in known)


def test_two_cas_end_with_the_last_and_a_chain_with_the_first(tmp_path: Path) -> None:
    make(tmp_path, "server-1")
    chain = tmp_path / "chain.crt"
    chain.write_bytes((tmp_path / "server-1.crt").read_bytes() + (tmp_path / "ca.crt").read_bytes())

    ends = [end_of(Watched("", chain, is_trusted)) for is_trusted in (True, False)]

    assert ends == [NOW + 3653 * DAY, NOW + 365 * DAY]


def test_a_certificate_that_breaks_off_anywhere_is_a_value_error(tmp_path: Path) -> None:
    whole = x509.load_pem_x509_certificate((make(tmp_path) / "ca.crt").read_bytes())
    der, path = whole.public_bytes(Encoding.DER), tmp_path / "part.crt"

    for length in range(0, len(der), 3):
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + _base64(der[:length]) + b"-----END CERTIFICATE-----\n")
        with pytest.raises(ValueError, match=r"damaged certificate|no certificate"):
            end_of(Watched("", path, is_trusted=False))


def _base64(content: bytes) -> bytes:
    from base64 import encodebytes

    return encodebytes(content) or b"\n"


def test_a_fifo_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.crt")

    with pytest.raises(ValueError, match="is no file"):
        end_of(Watched("", tmp_path / "fifo.crt", is_trusted=False))


def test_the_files_of_the_settings_are_watched_once_each(tmp_path: Path) -> None:
    make(tmp_path / "tls", "server-1")
    make(tmp_path / "other")
    config = Config(
        home=tmp_path,
        certificates=tmp_path / "tls",
        database_url=f"postgresql://writer@10.0.0.1/matinee?sslmode=verify-full&sslrootcert={tmp_path}/tls/ca.crt",
        follower_urls=(f"postgresql://reader@10.0.0.2/matinee?sslrootcert=system&sslcert={tmp_path}/reader.pem",),
        redis_url=f"rediss://10.0.0.3/0?ssl_ca_certs={tmp_path}/other/ca.crt",
    )

    found = watched(config)

    assert found == [
        Watched("ca", tmp_path / "tls" / "ca.crt", is_trusted=True),
        Watched("server-1", tmp_path / "tls" / "server-1.crt", is_trusted=False),
        Watched("reader", tmp_path / "reader.pem", is_trusted=False),
        Watched(f"{tmp_path}/other/ca.crt", tmp_path / "other" / "ca.crt", is_trusted=True),
    ]


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (300, "ends on 2027-11-28, in 65 days"),
        (340, f"ends on 2027-11-28, in 25 days; {health_certificates._REMEDY} soon"),
        (360, f"ends on 2027-11-28, in 5 days; {health_certificates._REMEDY}."),
        (366, f"ended on 2027-11-28: connections are refused; {health_certificates._REMEDY}."),
    ],
)
def test_doctor_advises_below_30_days_and_fails_below_7(tmp_path: Path, days: int, said: str) -> None:
    file = Watched("server-1", make(tmp_path, "server-1") / "server-1.crt", is_trusted=False)

    try:
        found, is_well = health_certificates.check(file, NOW + days * DAY), True
    except OperatorError as error:
        found, is_well = error.detail, False

    assert (found, is_well) == (f"{file.path} {said}", days <= 340)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory); let this user read it, or name another."),
        (
            "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
            "holds a damaged certificate; install it again from the folder of `matinee cluster certificates`.",
        ),
        ("", "holds no certificate in PEM format; install it again from the folder of `matinee cluster certificates`."),
    ],
)
def test_doctor_names_a_file_that_it_cannot_read(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "server-1.crt"
    if content is not None:
        path.write_text(content)

    with pytest.raises(OperatorError) as refused:
        health_certificates.check(Watched("server-1", path, is_trusted=False), NOW)

    assert refused.value.detail == f"{path} {said}"


def test_doctor_says_that_a_folder_has_no_certificates(tmp_path: Path) -> None:
    (check,) = health_certificates.checks(Config(home=tmp_path, certificates=tmp_path / "nowhere"))

    with pytest.raises(OperatorError) as refused:
        check()

    assert refused.value.detail.startswith(f"MATINEE_CERTIFICATES={tmp_path}/nowhere has no *.crt file")


def test_doctor_looks_at_the_certificates_of_the_cluster_in_its_folder(tmp_path: Path) -> None:
    make(tmp_path / "cluster" / "certificates", "etcd-1", at=datetime.now(UTC))

    said = [check() for check in health_certificates.checks(Config(home=tmp_path))]

    assert [line.split()[0] for line in said] == [f"{tmp_path}/cluster/certificates/{name}.crt" for name in ("ca", "etcd-1")]


def test_the_metric_is_read_again_once_a_minute_and_a_renewed_end_appears(tmp_path: Path) -> None:
    make(tmp_path, "metric-1")
    now_s = 1000.0
    metrics = CertificateMetrics(Config(home=tmp_path, certificates=tmp_path), lambda: now_s)

    metrics.publish()
    make(tmp_path, "metric-1", at=NOW + 300 * DAY)
    seen = []
    for later_s in (1059.0, 1060.0):
        now_s = later_s
        metrics.publish()
        seen.append(metric("metric-1"))

    assert seen == [(NOW + 365 * DAY).timestamp(), (NOW + 665 * DAY).timestamp()]


def test_the_metric_is_0_for_a_damaged_file_and_nan_for_one_that_is_gone(tmp_path: Path) -> None:
    make(tmp_path, "metric-2", "metric-3")
    now_s = 0.0
    metrics = CertificateMetrics(Config(home=tmp_path, certificates=tmp_path), lambda: now_s)
    metrics.publish()
    (tmp_path / "metric-2.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    (tmp_path / "metric-3.crt").unlink()

    now_s = 60.0
    metrics.publish()

    gone = metric("metric-3")
    assert (metric("metric-2"), gone is not None and math.isnan(gone)) == (0.0, True)


def test_a_server_does_not_load_the_library_for_certificates() -> None:
    look = (
        "import sys, matinee.cli.server, matinee.ops.server; from matinee import runtime; runtime.setup_django(); "
        "import matinee.http.app; print('cryptography' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("False\n", "")

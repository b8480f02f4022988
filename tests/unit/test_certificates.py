"""The certificates of a cluster: what is in them, when they are made anew, and what is refused."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from matinee.errors import OperatorError
from matinee.ops import certificate_authority, certificates, topology
from matinee.ops.certificates import Wanted
from matinee.ops.wanted_certificates import wanted_certificates

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DATABASE = Wanted("database-1", ("10.0.0.1", "database-1", "localhost"), is_client=True)
SERVER = Wanted("server-1", ("10.0.0.2", "server-1"), is_client=False)
DAY = timedelta(days=1)


def ensure(folder: Path, *wanted: Wanted, renew: bool = False, now: datetime = NOW) -> list[str]:
    """Return the names of the files that were written."""
    return [path.name for path in certificates.ensure(folder, "matinee", wanted, renew=renew, now=now)]


def outcomes(folder: Path, *wanted: Wanted, now: datetime = NOW) -> dict[str, str]:
    """Return what was done with each certificate."""
    return {outcome.name: outcome.what for outcome in certificates.issue(folder, "matinee", wanted, now=now)}


def certificate(path: Path) -> x509.Certificate:
    """Return the only certificate of a file."""
    (found,) = x509.load_pem_x509_certificates(path.read_bytes())
    return found


def refusal(folder: Path, *wanted: Wanted, now: datetime = NOW) -> str:
    """Return the words that a folder is refused with."""
    with pytest.raises(OperatorError) as refused:
        ensure(folder, *wanted, now=now)
    return refused.value.detail


def is_verified(ca: Path, leaf: Path, purpose: str) -> bool:
    """Return whether OpenSSL accepts a certificate for a purpose, today."""
    at = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-attime", at, "-x509_strict", "-purpose", purpose, "-CAfile", str(ca), str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_accepted(ca: Path, leaf: bytes) -> bool:
    """Return whether OpenSSL accepts a certificate that may have been replaced meanwhile."""
    path = ca.with_name("leaf")
    path.write_bytes(leaf)
    return is_verified(ca, path, "sslserver")


def test_the_first_run_makes_the_ca_and_three_private_files_for_each_node(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "certificates"

    written = ensure(folder, DATABASE)

    assert written == ["ca.crt", "ca.key", "database-1.key", "database-1.crt", "database-1.pem"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {name: 0o644 if name == "ca.crt" else 0o600 for name in [".lock", *written]}
    assert (folder / "database-1.pem").read_bytes() == b"".join(
        (folder / f"database-1{ending}").read_bytes() for ending in (".crt", ".key")
    )
    assert (folder / "database-1.key").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_node_certificate_holds_its_addresses_names_and_uses(tmp_path: Path) -> None:
    ensure(tmp_path, DATABASE, SERVER)

    found = certificate(tmp_path / "database-1.crt")

    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["10.0.0.1", "database-1", "localhost"]
    assert [type(name) for name in names] == [x509.IPAddress, x509.DNSName, x509.DNSName]
    assert found.subject.rfc4514_string() == "CN=database-1,O=matinee"
    assert (found.not_valid_before_utc, found.not_valid_after_utc) == (NOW - timedelta(hours=1), NOW + 365 * DAY)
    assert isinstance(found.public_key(), ec.EllipticCurvePublicKey)
    uses = [
        [
            use._name
            for use in certificate(tmp_path / f"{name}.crt").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        ]
        for name in ("database-1", "server-1")
    ]
    assert uses == [["serverAuth", "clientAuth"], ["serverAuth"]]


def test_the_ca_signs_certificates_only_and_no_other_ca(tmp_path: Path) -> None:
    ensure(tmp_path)

    found = certificate(tmp_path / "ca.crt")

    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert found.not_valid_after_utc - NOW == timedelta(days=3653)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_openssl_accepts_the_certificates_for_their_uses_only(tmp_path: Path) -> None:
    ensure(tmp_path / "one", DATABASE, SERVER)
    ensure(tmp_path / "two", SERVER)
    own, other = tmp_path / "one" / "ca.crt", tmp_path / "two" / "ca.crt"
    database, server = tmp_path / "one" / "database-1.crt", tmp_path / "one" / "server-1.crt"

    found = [is_verified(own, database, "sslserver"), is_verified(own, database, "sslclient")]
    found += [is_verified(own, server, "sslserver"), is_verified(own, server, "sslclient")]
    found += [is_verified(other, server, "sslserver")]

    assert found == [True, True, True, False, False]


def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path, DATABASE, SERVER)

    assert ensure(tmp_path, DATABASE, SERVER, now=NOW + 30 * DAY) == []


def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)

    before, after = [ensure(tmp_path, SERVER, now=NOW + days * DAY) for days in (242, 244)]

    assert (before, after) == ([], ["server-1.key", "server-1.crt", "server-1.pem"])
    assert certificate(tmp_path / "server-1.crt").not_valid_after_utc == NOW + (244 + 365) * DAY


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (SERVER._replace(hosts=("10.0.0.9", "server-1")), "renewed: its hosts or uses are others"),
        (SERVER._replace(is_client=True), "renewed: its hosts or uses are others"),
        (SERVER._replace(hosts=("server-1", "10.0.0.2")), "kept"),
    ],
)
def test_a_certificate_is_renewed_when_its_hosts_or_uses_change(tmp_path: Path, wanted: Wanted, reason: str) -> None:
    ensure(tmp_path, SERVER)

    assert outcomes(tmp_path, wanted) == {"ca": "kept", "server-1": reason}


def test_renew_makes_every_key_anew_and_keeps_the_ca(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    before = (tmp_path / "server-1.key").read_bytes()

    written = ensure(tmp_path, SERVER, renew=True)

    assert written == ["server-1.key", "server-1.crt", "server-1.pem"]
    assert (tmp_path / "server-1.key").read_bytes() != before


def test_a_certificate_of_another_ca_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path / "one", SERVER)
    ensure(tmp_path / "two", SERVER)
    for ending in ("crt", "key", "pem"):
        shutil.copy(tmp_path / "one" / f"server-1.{ending}", tmp_path / "two")

    assert outcomes(tmp_path / "two", SERVER) == {"ca": "kept", "server-1": "renewed: another CA signed it"}


def test_a_run_that_broke_off_between_key_and_certificate_is_finished(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER, DATABASE)
    shutil.copy(tmp_path / "database-1.key", tmp_path / "server-1.key")
    (tmp_path / "database-1.pem").unlink()

    found = outcomes(tmp_path, SERVER, DATABASE)

    assert found == {"ca": "kept", "server-1": "renewed: its key is another one", "database-1": "its .pem was written"}
    key = load_pem_private_key((tmp_path / "server-1.key").read_bytes(), None)
    assert key.public_key() == certificate(tmp_path / "server-1.crt").public_key()


def test_a_lost_key_is_made_anew_with_its_certificate(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    (tmp_path / "server-1.key").unlink()

    assert outcomes(tmp_path, SERVER) == {"ca": "kept", "server-1": "renewed: its key is missing"}


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "server-1.crt", "server-1.key"])
def test_a_damaged_file_is_named_with_what_to_type(tmp_path: Path, name: str) -> None:
    ensure(tmp_path, SERVER)
    (tmp_path / name).write_text("-----BEGIN NOTHING-----")

    kind = "a certificate" if name.endswith("crt") else "an unencrypted private key"
    assert refusal(tmp_path, SERVER) == (
        f"{tmp_path / name} is not {kind} in PEM format; bring back a copy, or remove it with `rm '{tmp_path / name}'`, "
        "then try again."
    )


def test_a_foreign_file_is_not_followed_or_used(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    (tmp_path / "server-1.key").rename(tmp_path / "elsewhere")
    (tmp_path / "server-1.key").symlink_to(tmp_path / "elsewhere")
    linked = refusal(tmp_path, SERVER)
    (tmp_path / "server-1.key").unlink()
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "server-1.key").write_bytes(foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    assert linked.startswith(f"{tmp_path / 'server-1.key'} cannot be read (Too many levels of symbolic links); remove it")
    assert refusal(tmp_path, SERVER).startswith(f"{tmp_path / 'server-1.key'} is not a key of an elliptic curve")


def test_a_ca_with_a_lost_or_wrong_key_is_refused_and_can_be_replaced(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    shutil.copy(tmp_path / "server-1.key", tmp_path / "ca.key")
    wrong = refusal(tmp_path, SERVER)
    (tmp_path / "ca.key").unlink()
    missing = refusal(tmp_path, SERVER)

    made = certificates.start_new_ca(tmp_path, "matinee", [SERVER], now=NOW)

    assert [outcome.what for outcome in made] == ["made beside the old one", "kept"]
    assert wrong == f"{tmp_path / 'ca.key'} is not the key of {tmp_path / 'ca.crt'}; bring back the copy that belongs to it."
    assert missing.endswith("bring back a copy, or make a new CA with `matinee cluster certificates --new-ca`.")
    assert outcomes(tmp_path, SERVER) == {
        "ca": "kept; the old CA is still trusted",
        "server-1": "renewed: another CA signed it",
    }


def test_a_key_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    (tmp_path / "ca.key").chmod(0o644)

    ensure(tmp_path, SERVER)

    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["ca", "../ca", "", "a/b", ".hidden", "CA"])
def test_a_name_that_is_no_file_name_or_that_of_the_ca_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, SERVER._replace(name=name)) == (
        f"A certificate cannot be called {name!r}; give the node another name in the topology."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_ends_with_its_ca_and_an_ended_ca_is_reported(tmp_path: Path) -> None:
    ensure(tmp_path)
    ends = certificate(tmp_path / "ca.crt").not_valid_after_utc

    ensure(tmp_path, SERVER, now=ends - 100 * DAY)

    assert certificate(tmp_path / "server-1.crt").not_valid_after_utc == ends
    assert refusal(tmp_path, SERVER, now=ends).endswith("replace it with `matinee cluster certificates --new-ca`.")


def test_runs_at_the_same_time_make_one_ca(tmp_path: Path) -> None:
    threads = [threading.Thread(target=ensure, args=(tmp_path, SERVER)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes(tmp_path, SERVER) == {"ca": "kept", "server-1": "kept"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_a_new_ca_replaces_the_old_one_and_every_certificate_is_accepted_at_each_step(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    leafs = [(tmp_path / "server-1.crt").read_bytes()]
    accepted = []
    for step in ("start", "sign", "drop"):
        if step == "start":
            certificates.start_new_ca(tmp_path, "matinee", [SERVER], now=NOW)
        elif step == "sign":
            ensure(tmp_path, SERVER)
        else:
            certificates.drop_old_ca(tmp_path, "matinee", [SERVER], now=NOW)
        leafs.append((tmp_path / "server-1.crt").read_bytes())
        accepted.append([is_accepted(tmp_path / "ca.crt", leaf) for leaf in leafs])

    assert accepted == [[True, True], [True, True, True], [False, False, True, True]]
    assert len(set(leafs)) == 4  # Patroni reads ca.crt again only when its certificate has changed
    assert ensure(tmp_path, SERVER) == []


def test_the_old_ca_is_not_dropped_before_the_new_one_has_signed(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER, DATABASE)
    certificates.start_new_ca(tmp_path, "matinee", [SERVER, DATABASE], now=NOW)

    with pytest.raises(OperatorError) as again:
        certificates.start_new_ca(tmp_path, "matinee", [SERVER], now=NOW)
    with pytest.raises(OperatorError) as early:
        certificates.drop_old_ca(tmp_path, "matinee", [SERVER, DATABASE])

    assert again.value.detail.startswith(f"{tmp_path / 'ca.crt'} holds two CAs already; finish that change with")
    assert early.value.detail.startswith(
        "The new CA has not signed yet: server-1, database-1. Run `matinee cluster certificates`"
    )


def test_a_new_ca_that_broke_off_is_finished_or_forgotten(tmp_path: Path) -> None:
    ensure(tmp_path, SERVER)
    old_key = (tmp_path / "ca.key").read_bytes()
    certificates.start_new_ca(tmp_path, "matinee", [SERVER], now=NOW)
    (tmp_path / "ca.key").rename(tmp_path / ".ca-next.key")
    (tmp_path / "ca.key").write_bytes(old_key)

    finished = outcomes(tmp_path, SERVER)
    (tmp_path / ".ca-next.key").write_bytes((tmp_path / "server-1.key").read_bytes())
    forgotten = outcomes(tmp_path, SERVER)

    still = "kept; the old CA is still trusted"
    assert finished == {"ca": still, "server-1": "renewed: another CA signed it"}
    assert (forgotten, (tmp_path / ".ca-next.key").exists()) == ({"ca": still, "server-1": "kept"}, False)
    assert certificate_authority.load(tmp_path) is not None


def test_a_topology_needs_a_certificate_for_each_node_and_its_fronts_names(tmp_path: Path) -> None:
    made = topology.example(servers=1, followers=2, high_availability=True, balancer="haproxy", redis=True)

    wanted = {one.name: one for one in wanted_certificates(made)}

    local = ("localhost", "127.0.0.1")
    assert wanted["server-1"] == Wanted("server-1", ("10.0.0.1", "server-1", *local), is_client=False)
    assert wanted["database-2"] == Wanted("database-2", ("10.0.0.2", "database-2", *local, "10.0.0.1"), is_client=True)
    assert [name for name, one in wanted.items() if one.is_client] == [
        name for name in wanted if name.startswith(("front", "database", "etcd"))
    ]
    assert list(wanted) == [place.name for place in made.places]
    assert len(ensure(tmp_path, *wanted.values())) == 2 + 3 * len(wanted)

"""The CA of a cluster: make it, sign with it, and replace it by another in two steps.

Called by certificates.py, which holds the lock of the folder. Invariants: `ca.crt` is what hosts trust, `ca.key` belongs to
one of its certificates, and a replaced CA is trusted until `drop_old`. The key must never be put on a host.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from matinee.addresses import bare, is_ip
from matinee.errors import OperatorError
from matinee.ops import certificate_files as files

CA_LIFE = timedelta(days=3653)  # 10 years
LEAF_LIFE = timedelta(days=365)
_CLOCK_SKEW = timedelta(hours=1)  # a host whose clock is late accepts a new certificate at once
CERTIFICATE, KEY = "ca.crt", "ca.key"
# The key of a CA that is being made. It is renamed to ca.key after ca.crt is written; a name with a dot is no node's name.
_NEXT_KEY = ".ca-next.key"


class Authority(NamedTuple):
    """The certificates that hosts trust, oldest first, and the one that signs with its key."""

    trusted: tuple[x509.Certificate, ...]
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def has_ended(self, now: datetime) -> bool:
        """Return whether nothing that it signed is accepted any more."""
        return self.certificate.not_valid_after_utc <= now

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Return whether this CA's current certificate signed a certificate."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):  # another issuer; another kind of key; another key
            return False
        return True


def load(folder: Path) -> Authority | None:
    """Return the CA of a folder, None when there is none. Raises: OperatorError when a file is damaged or missing."""
    trusted = files.read_certificates(folder / CERTIFICATE)
    _finish_making(folder, trusted)
    key = files.read_key(folder / KEY)
    if key is None and not trusted:
        return None
    if not trusted:
        raise OperatorError(
            f"{folder / CERTIFICATE} is missing, but {folder / KEY} exists; bring back a copy, "
            "or remove ca.key to begin with a new CA."
        )
    _require_ca(folder / CERTIFICATE, trusted)
    if key is None:
        raise OperatorError(
            f"{folder / KEY} is missing, so nothing can be signed; bring back a copy, "
            "or make a new CA with `matinee cluster certificates --new-ca`."
        )
    own = [certificate for certificate in trusted if files.is_pair(certificate, key)]
    if not own:
        raise OperatorError(f"{folder / KEY} is not the key of {folder / CERTIFICATE}; bring back the copy that belongs to it.")
    return Authority(tuple(trusted), own[-1], key)


def make(folder: Path, cluster_name: str, now: datetime) -> list[Path]:
    """Make a new CA that signs from now on. A CA that exists remains trusted. Returns: the files that were written."""
    trusted = files.read_certificates(folder / CERTIFICATE)
    key = ec.generate_private_key(ec.SECP256R1())
    # In this order, a run that breaks off leaves a CA that works, and the next run finishes the change.
    files.write(folder / _NEXT_KEY, files.key_pem(key))
    certificate = files.write(
        folder / CERTIFICATE, files.certificates_pem([*trusted, _ca_certificate(cluster_name, key, now)]), files.PUBLIC_MODE
    )
    (folder / _NEXT_KEY).replace(folder / KEY)
    return [certificate, folder / KEY]


def require_replaceable(folder: Path) -> None:
    """Raises: OperatorError when there is no CA to replace, or its replacement has begun already."""
    trusted = files.read_certificates(folder / CERTIFICATE)
    _require_ca(folder / CERTIFICATE, trusted)
    if not trusted:
        raise OperatorError(f"There is no CA in {folder} to replace; make it with `matinee cluster certificates`.")
    if len(trusted) > 1:
        raise OperatorError(
            f"{folder / CERTIFICATE} holds two CAs already; finish that change with `matinee cluster certificates`, "
            "then `matinee cluster certificates --drop-old-ca`."
        )


def drop_old(folder: Path, authority: Authority) -> list[Path]:
    """Trust the CA that signs, and no other. Returns: the files that were written."""
    return [files.write(folder / CERTIFICATE, files.certificates_pem([authority.certificate]), files.PUBLIC_MODE)]


def _finish_making(folder: Path, trusted: Sequence[x509.Certificate]) -> None:
    """Finish a `make` that was interrupted after ca.crt was written; before that, forget its key."""
    key = files.read_key(folder / _NEXT_KEY)
    if key is None:
        return
    if any(files.is_pair(certificate, key) for certificate in trusted):
        (folder / _NEXT_KEY).replace(folder / KEY)
    else:
        (folder / _NEXT_KEY).unlink()


def _require_ca(path: Path, certificates: Sequence[x509.Certificate]) -> None:
    for certificate in certificates:
        try:
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            raise OperatorError(f"{path} holds a certificate that is no CA; bring back the file that this command made.")


def _ca_certificate(cluster_name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    # The random part tells an old CA from a new one: several libraries look an issuer up by its name alone.
    name = _name(cluster_name, f"{cluster_name} CA {secrets.token_hex(4)}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, key, now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, SHA256())
    )


def sign(
    authority: Authority,
    cluster_name: str,
    name: str,
    hosts: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    is_client: bool,
) -> x509.Certificate:
    """Return a certificate of a node, which ends after a year, or with its CA if that is earlier."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if is_client else [])]
    issuer = authority.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    ends = min(now + LEAF_LIFE, issuer.not_valid_after_utc)
    return (
        _builder(_name(cluster_name, name), issuer.subject, key, now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.key, SHA256())
    )


def general_name(host: str) -> x509.GeneralName:
    """Return a host as subjectAltName holds it: clients compare an IP address with an IP address only."""
    return x509.IPAddress(ipaddress.ip_address(bare(host))) if is_ip(host) else x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(organization: str, common_name: str) -> x509.Name:
    attributes = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

"""The certificates of a cluster: a small CA, and one certificate for each node, made and renewed when that is due.

Called by `cluster certificates`, `cluster render` and `cluster up`. Each node gets NAME.crt, NAME.key and NAME.pem (both, for
HAProxy). The key is replaced before the certificate, and the two renames are not one: a process that reads exactly between them
sees a pair that does not match. HAProxy, nginx, Redis, PostgreSQL and Patroni read their files only at start and reload, so
reload them after this has returned. etcd reads them at each handshake; a client whose handshake fails in that moment retries.
The CA's key stays in this folder; hosts get ca.crt. This module must not be imported while serving: it takes 15 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from matinee.errors import OperatorError
from matinee.ops import certificate_authority, certificate_files
from matinee.ops.certificate_authority import CERTIFICATE, Authority

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_LEAST_LIFE_LEFT = 1 / 3  # of a certificate's life: with a year, four months remain for the renewal
_BY_CHANGE = "the CA changes"
MADE, KEPT, KEPT_WITH_OLD = "made", "kept", "kept; the old CA is still trusted"


class Wanted(NamedTuple):
    """A certificate that a node needs; `is_client`: it also identifies the node where it connects to another one."""

    name: str
    hosts: tuple[str, ...]
    is_client: bool


class Outcome(NamedTuple):
    """What a run did with one certificate: `what` says why it was renewed."""

    name: str
    hosts: tuple[str, ...]
    ends: datetime
    what: str
    written: tuple[Path, ...] = ()


def ensure(
    folder: Path, cluster_name: str, wanted: Sequence[Wanted], *, renew: bool = False, now: datetime | None = None
) -> list[Path]:
    """Make the CA and the wanted certificates as far as they are missing or due. Returns: the files that were written.

    `renew` makes every certificate anew. Raises: OperatorError when a file of the folder is damaged.
    """
    return [path for outcome in issue(folder, cluster_name, wanted, renew=renew, now=now) for path in outcome.written]


def issue(
    folder: Path, cluster_name: str, wanted: Sequence[Wanted], *, renew: bool = False, now: datetime | None = None
) -> list[Outcome]:
    """Do what `ensure` does. Returns: what was done with each certificate, the CA first."""
    now = now or datetime.now(UTC)
    _require_names(wanted)
    with certificate_files.alone(folder):
        made = certificate_authority.make(folder, cluster_name, now) if certificate_authority.load(folder) is None else []
        authority = _authority(folder)
        if authority.has_ended(now):
            raise OperatorError(
                f"The CA in {folder / CERTIFICATE} ended on {authority.certificate.not_valid_after_utc:%Y-%m-%d}; "
                "replace it with `matinee cluster certificates --new-ca`."
            )
        leafs = [_issue_one(folder, cluster_name, authority, one, now, "as requested" if renew else "") for one in wanted]
    kept = KEPT if len(authority.trusted) == 1 else KEPT_WITH_OLD
    return [_of_ca(authority, MADE if made else kept, made), *leafs]


def start_new_ca(folder: Path, cluster_name: str, wanted: Sequence[Wanted], *, now: datetime | None = None) -> list[Outcome]:
    """Make a new CA that is trusted beside the old one and signs from the next run on.

    The old one signs every certificate once more, because Patroni reads ca.crt again only if its certificate has changed.
    """
    now = now or datetime.now(UTC)
    _require_names(wanted)
    with certificate_files.alone(folder):
        certificate_authority.require_replaceable(folder)
        old = _usable(folder, now)
        leafs = (
            [_issue_one(folder, cluster_name, old, one, now, _BY_CHANGE) for one in wanted] if old else _kept(folder, wanted)
        )
        written = certificate_authority.make(folder, cluster_name, now)
        return [_of_ca(_authority(folder), "made beside the old one", written), *leafs]


def drop_old_ca(folder: Path, cluster_name: str, wanted: Sequence[Wanted], *, now: datetime | None = None) -> list[Outcome]:
    """Trust the new CA alone, which signs every certificate once more for the same reason as in `start_new_ca`.

    Raises: OperatorError when a wanted certificate is missing or signed by the old one.
    """
    now = now or datetime.now(UTC)
    with certificate_files.alone(folder):
        authority = _authority(folder)
        if late := [one.name for one in wanted if not _is_signed(folder, authority, one)]:
            raise OperatorError(
                f"The new CA has not signed yet: {', '.join(late)}. Run `matinee cluster certificates` first, "
                "bring its files to the hosts, and reload."
            )
        if len(authority.trusted) == 1:
            return [_of_ca(authority, KEPT, []), *_kept(folder, wanted)]
        leafs = [_issue_one(folder, cluster_name, authority, one, now, _BY_CHANGE) for one in wanted]
        return [_of_ca(authority, "the old one was dropped", certificate_authority.drop_old(folder, authority)), *leafs]


def _usable(folder: Path, now: datetime) -> Authority | None:
    """Return the CA, None when it cannot sign any more: its key is lost, or it has ended."""
    try:
        found = _authority(folder)
    except OperatorError:
        return None
    return None if found.has_ended(now) else found


def _authority(folder: Path) -> Authority:
    found = certificate_authority.load(folder)
    if found is None:
        raise OperatorError(f"There is no CA in {folder}; make it with `matinee cluster certificates`.")
    return found


def _of_ca(authority: Authority, what: str, written: Sequence[Path]) -> Outcome:
    return Outcome("ca", (), authority.certificate.not_valid_after_utc, what, tuple(written))


def _kept(folder: Path, wanted: Sequence[Wanted]) -> list[Outcome]:
    found = [(one, _leaf(folder, one.name)) for one in wanted]
    return [Outcome(one.name, one.hosts, leaf.not_valid_after_utc, KEPT) for one, leaf in found if leaf is not None]


def _is_signed(folder: Path, authority: Authority, one: Wanted) -> bool:
    leaf = _leaf(folder, one.name)
    return leaf is not None and authority.has_signed(leaf)


def _leaf(folder: Path, name: str) -> x509.Certificate | None:
    path = folder / f"{name}.crt"
    found = certificate_files.read_certificates(path)
    if len(found) > 1:
        raise OperatorError(f"{path} holds {len(found)} certificates, so this command did not make it; move it away.")
    return found[0] if found else None


def _issue_one(folder: Path, cluster_name: str, authority: Authority, one: Wanted, now: datetime, renewal: str) -> Outcome:
    """Make one certificate if it is missing or due, or anew if `renewal` gives a reason for that."""
    leaf, key = _leaf(folder, one.name), certificate_files.read_key(folder / f"{one.name}.key")
    if leaf is None or key is None or (reason := renewal or _reason(authority, leaf, key, one, now)):
        what = MADE if leaf is None else f"renewed: {reason if key else 'its key is missing'}"
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = certificate_authority.sign(authority, cluster_name, one.name, one.hosts, key, now, is_client=one.is_client)
        return Outcome(one.name, one.hosts, leaf.not_valid_after_utc, what, tuple(_write(folder, one.name, leaf, key)))
    pem, both = folder / f"{one.name}.pem", _both(leaf, key)
    if certificate_files.read_pem(pem) == both:
        return Outcome(one.name, one.hosts, leaf.not_valid_after_utc, KEPT)
    return Outcome(one.name, one.hosts, leaf.not_valid_after_utc, "its .pem was written", (certificate_files.write(pem, both),))


def _reason(authority: Authority, leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey, one: Wanted, now: datetime) -> str:
    """Return why a certificate has to be made anew, nothing when it is good."""
    life, left = leaf.not_valid_after_utc - leaf.not_valid_before_utc, leaf.not_valid_after_utc - now
    reasons = {
        "its key is another one": not certificate_files.is_pair(leaf, key),
        "another CA signed it": not authority.has_signed(leaf),
        "its hosts or uses are others": not _is_for(leaf, one),
        "less than a third of its life is left": left < life * _LEAST_LIFE_LEFT,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _is_for(leaf: x509.Certificate, one: Wanted) -> bool:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    is_client = ExtendedKeyUsageOID.CLIENT_AUTH in usages
    return set(names) == {certificate_authority.general_name(host) for host in one.hosts} and is_client == one.is_client


def _write(folder: Path, name: str, leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> list[Path]:
    write = certificate_files.write
    return [
        write(folder / f"{name}.key", certificate_files.key_pem(key)),
        write(folder / f"{name}.crt", certificate_files.certificates_pem([leaf])),
        write(folder / f"{name}.pem", _both(leaf, key)),
    ]


def _both(leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate_files.certificates_pem([leaf]) + certificate_files.key_pem(key)


def _require_names(wanted: Sequence[Wanted]) -> None:
    for one in wanted:
        if not _NAME.fullmatch(one.name) or one.name == "ca":
            raise OperatorError(f"A certificate cannot be called {one.name!r}; give the node another name in the topology.")
        for host in one.hosts:
            try:
                certificate_authority.general_name(host)
            except ValueError as error:
                raise OperatorError(
                    f"The host {host!r} of {one.name} cannot be in a certificate; use ASCII letters."
                ) from error

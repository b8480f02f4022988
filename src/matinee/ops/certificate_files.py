"""Read and write the PEM files of a cluster's certificates and keys, and lock their folder.

Called by certificates.py and certificate_authority.py. A file is replaced whole and its key is for its owner alone. It must
never repair a file that it cannot read: a damaged file is an error that names the file, because it may be the only copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from matinee import private_files
from matinee.errors import OperatorError
from matinee.ops.processes import happens, takes_lock

PUBLIC_MODE = 0o644  # ca.crt: every user of a host may read what the host trusts
_LOCK = ".lock"
_LOCK_WITHIN_S = 30.0  # a run holds the lock for milliseconds per certificate


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder and lock it, so that two runs cannot make two CAs. Raises: OperatorError after 30 s."""
    try:
        private_files.make_folder(folder)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, private_files.FILE_MODE)
    except OSError as error:
        raise OperatorError(f"{folder} cannot be used for certificates ({error.strerror}); name another folder.") from error
    try:
        if not happens(lambda: takes_lock(descriptor), _LOCK_WITHIN_S):
            raise OperatorError(
                f"Another command is changing the certificates in {folder}; wait until it ends, then try again."
            )
        yield
    finally:
        os.close(descriptor)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a file, none when it is missing. Raises: OperatorError when it is damaged."""
    content = _content(path)
    if content is None:
        return []
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise _damaged(path, "is not a certificate in PEM format") from error


def read_key(path: Path) -> EllipticCurvePrivateKey | None:
    """Return the private key of a file, None when it is missing. Raises: OperatorError when it is damaged or encrypted."""
    content = _content(path)
    if content is None:
        return None
    private_files.close_to_others(path)  # a copy, for example by `cp`, may have another mode
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise _damaged(path, "is not an unencrypted private key in PEM format") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _damaged(path, "is not a key of an elliptic curve, so this command did not make it")
    return key


def read_pem(path: Path) -> bytes:
    """Return the content of a file, nothing when it is missing. Raises: OperatorError."""
    return _content(path) or b""


def certificates_pem(certificates: list[x509.Certificate]) -> bytes:
    """Return certificates in PEM format, in this order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: EllipticCurvePrivateKey) -> bytes:
    """Return a private key in PEM format (PKCS #8), unencrypted because the engines start without a person."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def is_pair(certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> bool:
    """Return whether a certificate is that of a key."""
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*encoding) == key.public_key().public_bytes(*encoding)


def write(path: Path, content: bytes, mode: int = private_files.FILE_MODE) -> Path:
    """Replace a file with private content and return its path. Raises: OperatorError."""
    try:
        private_files.replace(path, content, mode)
    except OSError as error:
        raise OperatorError(f"{path} cannot be written ({error.strerror}); make room, or name another folder.") from error
    return path


def _content(path: Path) -> bytes | None:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:  # a symbolic link, a folder, or a file of another user
        raise OperatorError(
            f"{path} cannot be read ({error.strerror}); remove it with `rm -r '{path}'`, then try again."
        ) from error


def _damaged(path: Path, fault: str) -> OperatorError:
    return OperatorError(f"{path} {fault}; bring back a copy, or remove it with `rm '{path}'`, then try again.")

"""What `doctor` says of certificates: when each file ends. Called by health.py; one line for each file.

The files are those of the settings, and those of the cluster in MATINEE_HOME. It must not renew anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from matinee.certificate_expiry import Watched, end_of, watched
from matinee.cli.cluster_settings import cluster_home
from matinee.config import Config
from matinee.errors import OperatorError

_WARN_DAYS, _LEAST_DAYS = 30, 7
_REMEDY = "renew it with `matinee cluster certificates`, install it, and reload"
# Where `cluster up` keeps the certificates of its nodes, below its folder.
_CLUSTER_FOLDERS = ("certificates", "config/certificates")


def checks(config: Config) -> Iterator[Callable[[], str]]:
    """Yield a check for each certificate file."""
    if config.certificates and not any(config.certificates.glob("*.crt")):
        yield partial(_no_files, config.certificates)
    cluster = cluster_home(config.home)
    for file in watched(config, [cluster / name for name in _CLUSTER_FOLDERS]):
        yield partial(check, file, datetime.now(UTC))


def _no_files(folder: Path) -> str:
    raise OperatorError(f"MATINEE_CERTIFICATES={folder} has no *.crt file that this user can read; name the right folder.")


def check(file: Watched, now: datetime) -> str:
    """Return when a certificate ends, with advice when that is soon. Raises: OperatorError when it is very soon, or past."""
    try:
        end = end_of(file)
    except OSError as error:
        raise OperatorError(
            f"{file.path} cannot be read ({error.strerror}); let this user read it, or name another."
        ) from error
    except ValueError as error:
        raise OperatorError(
            f"{file.path} {error}; install it again from the folder of `matinee cluster certificates`."
        ) from error
    days = (end - now).days
    if end <= now:
        raise OperatorError(f"{file.path} ended on {end:%Y-%m-%d}: connections are refused; {_REMEDY}.")
    told = f"{file.path} ends on {end:%Y-%m-%d}, in {days} days"
    if days < _LEAST_DAYS:
        raise OperatorError(f"{told}; {_REMEDY}.")
    return f"{told}; {_REMEDY} soon" if days < _WARN_DAYS else told

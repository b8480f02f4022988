"""Open the catalogue for a command: the data folder, the secret key, Django, and a schema that fits.

Called by every command that touches the catalogue.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from matinee import config as configuration
from matinee import private_files, runtime
from matinee.cli import modes
from matinee.cli.cluster_settings import load_settings
from matinee.cli.output import tell
from matinee.config import Config
from matinee.errors import HomeError


def prepare_home(config: Config) -> Config:
    """Make the data folder and the secret key where they are missing. Raises: HomeError when that is not possible."""
    try:
        private_files.make_folder(config.home)
        if not config.on_postgres:
            private_files.make_folder(config.database_path.parent)
        private_files.make_folder(config.home / "logs")
        if not config.secret_key:
            _make_secret(configuration.secret_path(config))
    except OSError as error:
        raise HomeError(
            f"The data folder {config.home} cannot be used ({error.strerror}). "
            f"{_remedy(error)}, or choose another: MATINEE_HOME=/path/to/folder matinee up"
        ) from error
    config = configuration.load(home=config.home, host=config.host, port=config.port, workers=config.workers)
    if not config.secret_key:
        # Without one, sessions and cursors would be signed with what everybody can read in the source.
        raise HomeError(
            f"{configuration.secret_path(config)} is there and holds no secret key; delete it, and a new one is made. "
            "Who is signed in to the admin then signs in again."
        )
    return config


def _remedy(error: OSError) -> str:
    return {errno.ENOSPC: "Make room", errno.EROFS: "Mount its disk read-write"}.get(error.errno or 0, "Make it writable")


def _make_secret(path: Path) -> None:
    # Made under another name and linked: two first starts at the same moment must end up with the same secret.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def export_settings(config: Config) -> None:
    """Put what the command line changed where Django's settings and the server's workers read it."""
    os.environ["MATINEE_HOME"] = str(config.home)
    changed = {"MATINEE_HOST": config.host, "PORT": str(config.port), "WEB_CONCURRENCY": str(config.workers)}
    defaults = {"MATINEE_HOST": Config.host, "PORT": str(Config.port), "WEB_CONCURRENCY": str(Config.workers)}
    for name, value in changed.items():
        # A default stays unsaid: whether a server was named decides which one is asked (cluster_settings.running_server).
        if name in os.environ or value != defaults[name]:
            os.environ[name] = value


def open_catalogue(config: Config | None = None, *, is_reading: bool = False) -> Config:
    """Return the settings with Django set up and the schema checked; `is_reading` is for a command that changes nothing.

    Raises: ConfigError, HomeError, DatabaseError, and OperatorError when two catalogues could be meant.
    """
    config = set_up(config or load_settings(is_reading=is_reading))
    from matinee.storage import schema

    schema.check(config)
    _keep_private(config)
    return config


def upgrade_catalogue(config: Config) -> tuple[Config, list[str]]:
    """Do the same, but make the catalogue or bring its schema up to date first; return the migrations that ran too."""
    config = set_up(config)
    from matinee.storage import schema

    schema.claim(config)
    applied, left_to_do = schema.migrate()
    if left_to_do:
        tell(left_to_do)
    schema.check(config)
    _keep_private(config)
    return config, applied


def _keep_private(config: Config) -> None:
    """Close the files of a catalogue to others, once it is known to be one of ours."""
    if tightened := modes.tighten(config):
        tell(f"{len(tightened)} files could be read by others and are for their owner alone now, as {tightened[0]}.")


def set_up(config: Config) -> Config:
    """Make the data folder and set Django up; the catalogue is not looked at. Raises: HomeError."""
    config = prepare_home(config)
    export_settings(config)
    runtime.setup_django()
    return config

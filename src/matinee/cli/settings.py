"""`config`: the settings and where each one comes from."""

from __future__ import annotations

import os

from matinee import config as configuration
from matinee.cli.cluster_settings import load_settings, source_of
from matinee.cli.output import Json, as_json, table, tell
from matinee.errors import ConfigError, OperatorError
from matinee.injected_variables import injected
from matinee.setting_values import AUTO


def show(as_json_: Json = False) -> None:
    """Show every setting: value, where it came from, and what it is for; secrets are masked."""
    try:
        config = load_settings(is_reading=True)
    except ConfigError:
        raise
    except OperatorError as error:
        tell(error.for_operators)  # of a cluster that does not run: the settings are shown without it
        config = configuration.load()
    rows = [
        {"setting": origin.env, "value": _shown(origin), "source": source_of(origin.env) or origin.source, "help": origin.help}
        for origin in configuration.origins(config)
    ]
    if as_json_:
        as_json(rows)
    else:
        table(("setting", "value", "source"), [(row["setting"], row["value"], row["source"]) for row in rows])
    if ignored := injected(os.environ):
        tell(f"Ignored, because Kubernetes or Docker injects them for a service: {', '.join(ignored)}.")


def _shown(origin: configuration.Origin) -> object:
    if origin.secret:
        return "(set, hidden)" if origin.value else "(not set)"
    if isinstance(origin.value, tuple):
        return ",".join(configuration.without_password(str(part)) for part in origin.value)
    if origin.value is None:
        return ""
    if origin.value == AUTO:
        return "auto"
    return origin.value if isinstance(origin.value, bool | int) else configuration.without_password(str(origin.value))


def check() -> None:
    """Check the settings; all faults are told at once, exit code 2."""
    configuration.load()
    tell("The settings are good.")

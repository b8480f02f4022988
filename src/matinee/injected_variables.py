"""Recognise environment variables that Kubernetes or Docker adds for a service named "matinee..."; they are not settings.

Called by config.py. Kubernetes gives each container MATINEE_PORT=tcp://10.0.0.1:80 and others for a Service `matinee`, and
MATINEE_API_PORT=... for `matinee-api`; Docker's links do the same. A variable counts as injected only if its name and its
value both have such a shape: a misspelt setting must still be an error. Nothing here reads a setting.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

PREFIX = "MATINEE_"
_PROTOCOL = "(?:TCP|UDP|SCTP)"
_URL = re.compile(r"(?:tcp|udp|sctp)://(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<plain>[0-9a-fA-F:.]+)):(?P<port>\d{1,5})")
_LINK_NAME = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9_.-]*){2,}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65_536


def is_url(text: str) -> bool:
    """Return whether a value is PROTOCOL://IP:PORT, as only an orchestrator writes it."""
    found = _URL.fullmatch(text)
    return found is not None and _is_address(found["six"] or found["plain"]) and _is_port(found["port"])


# How the name ends, and what the value must then be. Every pattern follows MATINEE or MATINEE_WORD_WORD.
_SHAPES: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (re.compile(rf"MATINEE(?:_[A-Z0-9]+)*?_{ending}"), is_value)
    for ending, is_value in (
        ("SERVICE_HOST", _is_address),
        ("SERVICE_PORT(?:_[A-Z0-9_]+)?", _is_port),
        ("PORT", is_url),
        (rf"PORT_\d{{1,5}}_{_PROTOCOL}", is_url),
        (rf"PORT_\d{{1,5}}_{_PROTOCOL}_ADDR", _is_address),
        (rf"PORT_\d{{1,5}}_{_PROTOCOL}_PORT", _is_port),
        (rf"PORT_\d{{1,5}}_{_PROTOCOL}_PROTO", lambda text: text.lower() in {"tcp", "udp", "sctp"}),
        ("NAME", lambda text: _LINK_NAME.fullmatch(text) is not None),
    )
)
_LINKED_SETTING = re.compile(r"(MATINEE(?:_[A-Z0-9]+)*?)_ENV_\w+")


def injected(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that an orchestrator has injected for services named "matinee...", sorted."""
    found = {
        name
        for name, value in environ.items()
        if name.startswith(PREFIX) and any(shape.fullmatch(name) and is_value(value) for shape, is_value in _SHAPES)
    }
    # A Docker link also copies the other container's variables, with any value: only beside the link's own variable.
    links = {name.removesuffix("_NAME") for name in found if name.endswith("_NAME")}
    found |= {name for name in environ if (match := _LINKED_SETTING.fullmatch(name)) and match[1] in links}
    return sorted(found)

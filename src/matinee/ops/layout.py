"""Where a rendered cluster keeps its files: on this machine in one folder; on hosts with systemd in the system's folders.

Called by rendering.py and by those who run what was rendered. Says paths; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matinee.ops.topology import Place

# A socket's path has at most 107 bytes.
_LONGEST_SOCKET_BYTES = 107


@dataclass(frozen=True)
class Local:
    """A cluster on this machine: `config` holds what was rendered, `data` what the nodes write, `sockets` is a short path."""

    config_folder: Path
    data_folder: Path
    socket_folder: Path
    is_local = True
    is_system = False

    def config(self, node: Place, suffix: str) -> Path:
        """Return where a node's configuration lies."""
        return self.config_folder / f"{node.name}{suffix}"

    def data(self, node: Place) -> Path:
        """Return the folder that a node writes to."""
        return self.data_folder / node.name

    def socket(self, node: Place) -> Path:
        """Return where a balancer takes orders."""
        return self.socket_folder / f"{node.name}.sock"

    def master(self, node: Place) -> Path:
        """Return where HAProxy's master takes orders. It adds up to 12 characters to the name while it starts."""
        return self.socket_folder / f"{node.name}.cli"

    def state(self, node: Place) -> Path:
        """Return where the states of a balancer's servers are during a reload."""
        return self.socket_folder / f"{node.name}.state"

    @property
    def public_certificate(self) -> Path:
        """Return the file with the balancer's certificate, its chain and its key."""
        return self.config_folder / "tls" / "public.pem"

    @property
    def has_short_paths(self) -> bool:
        """Return whether PostgreSQL's socket file would have a path that the system allows."""
        return len(str(self.data_folder)) + 50 < _LONGEST_SOCKET_BYTES


@dataclass(frozen=True)
class System:
    """Hosts with systemd; the paths are theirs, the rendered files lie below a folder for each host."""

    is_local = False
    is_system = True
    has_short_paths = True

    def config(self, node: Place, suffix: str) -> Path:
        """Return where a node's configuration lies."""
        return Path("/etc/matinee") / f"{node.name}{suffix}"

    def data(self, node: Place) -> Path:
        """Return the folder that a node writes to; its unit makes it."""
        return Path("/var/lib") / f"matinee-{node.name}"

    def socket(self, node: Place) -> Path:
        """Return where a balancer takes orders."""
        return Path("/run") / f"matinee-{node.name}" / "admin.sock"

    def state(self, node: Place) -> Path:
        """Return where the states of a balancer's servers are during a reload; systemd removes the folder at a stop."""
        return Path("/run") / f"matinee-{node.name}" / "servers.state"

    @property
    def public_certificate(self) -> Path:
        """Return the file with the balancer's certificate, its chain and its key; the script public-certificate writes it."""
        return Path("/etc/matinee/tls/public.pem")


Layout = Local | System

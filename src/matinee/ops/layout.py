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
class Tls:
    """The files with which a node proves who it is, and the CAs that it trusts."""

    folder: Path
    name: str

    @property
    def authorities(self) -> Path:
        """Return the certificates of the CAs."""
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        """Return the node's certificate."""
        return self.folder / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        """Return the key of the certificate."""
        return self.folder / f"{self.name}.key"

    @property
    def both(self) -> Path:
        """Return the file of certificate and key, as HAProxy reads it."""
        return self.folder / f"{self.name}.pem"

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all of them."""
        return self.authorities, self.certificate, self.key, self.both


@dataclass(frozen=True)
class Local:
    """A cluster on this machine: `config` holds what was rendered, `data` what the nodes write, `sockets` is a short path.

    The certificates lie in `certificates_folder`. PostgreSQL runs as another user, so a database has copies beside its data.
    """

    config_folder: Path
    data_folder: Path
    socket_folder: Path
    certificates_folder: Path
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

    def tls(self, node: Place) -> Tls:
        """Return the certificate of a node."""
        return Tls(self.data(node) / "tls" if node.role == "database" else self.certificates_folder, node.name)

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

    def tls(self, node: Place) -> Tls:
        """Return the certificate of a node."""
        return Tls(Path("/etc/matinee/tls"), node.name)

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

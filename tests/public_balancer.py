"""A rendered balancer with HTTPS on loopback, for tests: its files, its certificate, and a client that trusts that.

The certificate is what the rendered script `public-certificate placeholder` makes.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from matinee.ops import engines, node_config, rendering
from matinee.ops.engines import EngineNode
from matinee.ops.layout import Local
from matinee.ops.processes import free_port
from matinee.ops.topology import Place, Sizes, Topology, ports_of

PROXY = "127.0.0.8"  # a proxy in front of the balancer: what it says of its clients is believed


@dataclass
class PublicBalancer:
    """A balancer that was rendered, and where it lies."""

    engine: str
    node: EngineNode
    folder: Path
    url: str
    plain_url: str

    @property
    def certificate(self) -> Path:
        """Return the file that the balancer reads its certificate from."""
        return self.folder / "tls" / "public.pem"

    def client(self, source: str = "127.0.0.1", **options: object) -> httpx.Client:
        """Return a client of its own address that trusts the balancer's certificate."""
        trusted = ssl.create_default_context(cafile=self.certificate)
        transport = httpx.HTTPTransport(verify=trusted, local_address=source)
        return httpx.Client(base_url=self.url, transport=transport, timeout=10, **options)  # type: ignore[arg-type]

    @property
    def path(self) -> str:
        """Return where programs are looked for: first where this balancer's systemctl may be."""
        return f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def reload_by_systemctl(self) -> None:
        """Let `systemctl reload` reload this balancer, as its unit would: systemd does not run it here."""
        assert self.node.process is not None
        number = "USR2" if self.engine == "haproxy" else "HUP"
        systemctl = self.folder / "bin" / "systemctl"
        systemctl.parent.mkdir(exist_ok=True)
        systemctl.write_text(f'#!/bin/sh\n[ "$1" != reload ] || kill -{number} {self.node.process.pid}\n')
        systemctl.chmod(0o755)

    def script(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the rendered public-certificate."""
        command = ["sh", str(self.folder / "public-certificate"), *words]
        return subprocess.run(
            command, env={"PATH": self.path} | environment, capture_output=True, text=True, timeout=30, check=False
        )


def public_topology(engine: str, server_port: int, **changes: object) -> Topology:
    """Return a balancer with ACME before one server, all on loopback, and the public name localhost."""
    ports = {name: free_port() for name in ports_of("balancer", https="acme")}
    places = (
        Place("balancer", "balancer", "local", "127.0.0.1", ports),
        Place("server-1", "server", "local", "127.0.0.1", {"port": server_port}),
        Place("leader", "database", "local", "127.0.0.1", {"port": 1}),  # which no balancer ever asks
    )
    made = {
        "balancer": engine,
        "tls": False,  # between the nodes; of these only the balancer runs
        "public_url": f"https://localhost:{ports['port']}",
        "https": "acme",
        "trusted_proxies": (PROXY,),
        "sizes": Sizes(client_connections=500, client_requests_per_s=100),
        "hosts": {"local": "127.0.0.1"},
        "places": places,
    }
    return Topology(**made | changes)  # type: ignore[arg-type]


@contextmanager
def public_balancer(topology: Topology) -> Iterator[PublicBalancer]:
    """Run a balancer from its rendered file until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="matinee-tests-"))  # short: a socket lies in it
    folder.chmod(0o711)  # for a root nginx works as another user, who must get through
    layout = Local(folder, folder, folder, folder)
    place = topology.of("balancer")[0]
    cluster = node_config.Cluster(topology, layout, dict.fromkeys(rendering.SECRETS, ""), {})
    file = layout.config(place, node_config.suffix_of(topology, place))
    file.write_text(node_config.config_of(cluster, place) or "")
    (folder / "public-certificate").write_text(node_config.public_certificate_script(cluster, place))
    layout.data(place).mkdir()
    command = engines.command_of("balancer", topology.balancer, file, layout.data(place), layout.master(place))
    node = EngineNode(place, command, layout.data(place) / "log")
    plain_url = f"http://127.0.0.1:{place.ports['http_port']}"
    made = PublicBalancer(topology.balancer, node, folder, topology.public_url, plain_url)
    try:
        done = made.script("placeholder")
        assert done.returncode == 0, done.stderr
        node.start()
        yield made
    finally:
        node.end()
        shutil.rmtree(folder)

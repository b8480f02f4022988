"""A certificate by ACME: certbot, a certificate authority on loopback, and a rendered balancer that serves what it gets."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from matinee.ops import public_name
from matinee.ops.processes import free_port
from matinee.ops.topology import BALANCERS
from tests.processes import end, eventually
from tests.public_balancer import PublicBalancer, public_balancer, public_topology

pytestmark = [
    pytest.mark.sqlite_only("no catalogue is needed: once is enough"),
    pytest.mark.skipif(
        not (shutil.which("certbot") and shutil.which("pebble")), reason="needs certbot and pebble: apt install certbot pebble"
    ),
]
_NAME = "movies.matinee.test"


@pytest.fixture(params=BALANCERS)
def balancer(request: pytest.FixtureRequest) -> Iterator[PublicBalancer]:
    """Return each balancer with its placeholder; the server behind it is away, which is of no concern here."""
    topology = public_topology(request.param, free_port(), trusted_proxies=(), public_url=f"https://{_NAME}")
    with public_balancer(topology) as made:
        made.reload_by_systemctl()
        yield made


@pytest.fixture
def authority(balancer: PublicBalancer, tmp_path: Path) -> Iterator[str]:
    """Run a certificate authority to which every name is on loopback, and port 80 is the balancer's; return its address."""
    dns, acme, management = free_port(), free_port(), free_port()
    tls = balancer.certificate.read_text()  # pebble needs one of its own; any does
    (tmp_path / "tls.pem").write_text(tls)
    settings = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(tmp_path / "tls.pem"),
        "privateKey": str(tmp_path / "tls.pem"),
        "httpPort": balancer.node.place.ports["http_port"],
        "tlsPort": free_port(),
    }
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": settings}))
    names = ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-http01", "", "-https01", "", "-tlsalpn01", ""]
    names += ["-defaultIPv6", "", "-management", f"127.0.0.1:{free_port()}"]
    pebble = ["pebble", "-config", str(tmp_path / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    with ExitStack() as stack, (tmp_path / "authority.log").open("wb") as log:
        for command in (names, pebble):
            environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(end, process)
        eventually(lambda: served(acme) != "", bool)
        yield f"https://127.0.0.1:{acme}/dir"


def served(port: int) -> str:
    """Return the certificate that a port shows; empty when it shows none."""
    try:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    except OSError:
        return ""


def run_certbot(balancer: PublicBalancer, folder: Path, *words: str) -> str:
    """Run certbot to its end with folders of its own; return the certificate that it holds then."""
    folders = [word for kind in ("config", "work", "logs") for word in (f"--{kind}-dir", str(folder / kind))]
    command = ["certbot", *words, "--no-verify-ssl", "--non-interactive", *folders]
    environment = os.environ | {"PATH": balancer.path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "config" / "live" / _NAME / "cert.pem").read_text()


def test_the_command_of_the_readme_gets_a_certificate_that_is_served_and_renewed(
    balancer: PublicBalancer, authority: str, tmp_path: Path
) -> None:
    command = public_name.certbot_command(_NAME, balancer.node.place.ports["acme_port"])
    words = shlex.split(command.replace("/etc/matinee/public-certificate", f"sh {balancer.folder}/public-certificate"))

    first = run_certbot(balancer, tmp_path, *words[1:], "--server", authority)
    eventually(lambda: served(balancer.node.port).split(), lambda shown: shown == first.split())
    second = run_certbot(balancer, tmp_path, "renew", "--force-renewal", "--no-random-sleep-on-renew")

    assert second != first
    eventually(lambda: served(balancer.node.port).split(), lambda shown: shown == second.split())

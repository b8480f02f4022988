"""Rendered balancers whose servers are host names: one name that does not resolve, and a reload that keeps a drain."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from matinee.ops import engines, haproxy_socket, node_config, rendering
from matinee.ops.engines import EngineNode
from matinee.ops.layout import Local, System
from matinee.ops.processes import free_port
from matinee.ops.topology import BALANCERS, Place, Sizes, Topology, example, ports_of
from tests.processes import eventually

pytestmark = pytest.mark.sqlite_only("no catalogue is needed: once is enough")
_NOWHERE = "no-such-host.invalid"


class _Server(BaseHTTPRequestHandler):
    """Answers every request with its own port."""

    def do_GET(self) -> None:
        body = str(self.server.server_address[1]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Servers(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a balancer hangs up on its own checks."""


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Return the ports of two servers."""
    servers = [_Servers(("127.0.0.1", 0), _Server) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield [server.server_port for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@contextmanager
def balanced(engine: str, *servers: tuple[str, int]) -> Iterator[EngineNode]:
    """Run a balancer before servers at these hosts and ports, as it is rendered."""
    folder = Path(tempfile.mkdtemp(prefix="matinee-tests-"))  # short: a socket lies in it
    folder.chmod(0o711)
    place = Place("balancer", "balancer", "local", "127.0.0.1", {name: free_port() for name in ports_of("balancer")})
    places = [Place(f"server-{n}", "server", f"host-{n}", host, {"port": port}) for n, (host, port) in enumerate(servers, 1)]
    database = Place("leader", "database", "local", "127.0.0.1", {"port": 1})
    sizes = Sizes(client_connections=500)
    hosts = {"local": "127.0.0.1"}
    # Names, not certificates, are tried here.
    topology = Topology(balancer=engine, sizes=sizes, tls=False, hosts=hosts, places=(place, *places, database))
    layout = Local(folder, folder, folder, folder)
    file = layout.config(place, node_config.suffix_of(topology, place))
    secrets = dict.fromkeys(rendering.SECRETS, "")
    file.write_text(node_config.config_of(node_config.Cluster(topology, layout, secrets, {}), place) or "")
    layout.data(place).mkdir()
    command = engines.command_of("balancer", engine, file, layout.data(place), layout.master(place))
    node = EngineNode(place, command, layout.data(place) / "log")
    if engine == "haproxy":
        node.socket, node.state_file = layout.socket(place), layout.state(place)
    try:
        node.start()
        yield node
    finally:
        node.end()
        shutil.rmtree(folder)


def answering(node: EngineNode, requests: int = 12) -> set[str]:
    """Return which servers answer, by their ports, and the statuses of what is no answer of theirs."""
    seen = set()
    for _ in range(requests):
        with closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)) as wire:
            wire.request("GET", "/v1/movies")
            answer = wire.getresponse()
            body = answer.read().decode()
            seen.add(body if answer.status == 200 else str(answer.status))
    return seen


@pytest.mark.parametrize("engine", BALANCERS)
def test_a_name_that_does_not_resolve_leaves_the_others_served(engine: str, ports: list[int]) -> None:
    with balanced(engine, ("localhost", ports[0]), (_NOWHERE, 8001), ("127.0.0.1", ports[1])) as node:
        eventually(lambda: answering(node), lambda seen: seen == set(map(str, ports)), 20)

        node.reload()

        assert answering(node, 40) == set(map(str, ports))


@pytest.mark.parametrize("engine", BALANCERS)
def test_without_any_name_that_resolves_the_balancer_runs_and_answers(engine: str) -> None:
    with balanced(engine, (_NOWHERE, 8001)) as node:
        assert answering(node, 2) <= {"502", "503"}
        assert node.state() == "running"


def test_a_reload_right_after_a_start_and_after_a_reload_is_not_lost(ports: list[int]) -> None:
    def worker() -> str:
        return next(line for line in haproxy_socket.ask(node.socket or Path(), "show info").splitlines() if "Pid:" in line)

    with balanced("haproxy", ("127.0.0.1", ports[0])) as node:
        workers = [worker()]
        for _ in range(3):
            node.reload()
            workers.append(worker())

    assert len(set(workers)) == 4


def test_a_drain_over_the_socket_outlives_a_reload_and_an_undrain_too(ports: list[int]) -> None:
    with balanced("haproxy", ("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])) as node:
        assert node.socket is not None
        eventually(lambda: answering(node), lambda seen: len(seen) == 2, 20)
        haproxy_socket.ask(node.socket, "set server read/server-1 state drain")

        node.reload()

        assert answering(node, 40) == {str(ports[1])}
        haproxy_socket.ask(node.socket, "set server read/server-1 state ready")
        node.reload()
        eventually(lambda: answering(node), lambda seen: len(seen) == 2, 20)


def test_a_start_does_not_take_over_what_an_earlier_process_has_left(ports: list[int]) -> None:
    with balanced("haproxy", ("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])) as node:
        assert node.socket is not None
        eventually(lambda: answering(node), lambda seen: len(seen) == 2, 20)
        haproxy_socket.ask(node.socket, "set server read/server-1 state drain")
        node.reload()
        node.end()

        node.start()

        eventually(lambda: answering(node), lambda seen: len(seen) == 2, 20)


def test_the_unit_saves_the_states_where_the_configuration_reads_them(tmp_path: Path) -> None:
    made = example(servers=2, followers=1, high_availability=False, balancer="haproxy", redis=False)
    rendering.render(made, "systemd", tmp_path)
    unit = (tmp_path / "one/etc/systemd/system/matinee-balancer.service").read_text()
    config = (tmp_path / "one/etc/matinee/balancer.cfg").read_text()

    balancer = made.of("balancer")[0]
    assert f"server-state-file {System().state(balancer)}" in config
    check, save, reload = [line.removeprefix("ExecReload=") for line in unit.splitlines() if line.startswith("ExecReload=")]
    assert check == "/usr/sbin/haproxy -c -q -f /etc/matinee/balancer.cfg"
    assert (f"> {System().state(balancer)}.new" in save, reload) == (True, "/bin/kill -USR2 $MAINPID")
    assert f"UNIX-CONNECT:{System().socket(balancer)}" in save


def test_a_resolver_is_asked_for_names_and_not_for_addresses(tmp_path: Path) -> None:
    made = example(servers=2, followers=1, high_availability=False, balancer="haproxy", redis=False)
    addresses = {"server-1": "movies-1.example.org", "server-2": "10.0.0.2"}
    places = tuple(replace(place, address=addresses.get(place.name, place.address)) for place in made.places)
    rendering.render(replace(made, places=places, resolver="127.0.0.1:53"), "local", tmp_path)

    path = tmp_path / "balancer.cfg"
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip().startswith("server server-")]
    assert (
        lines
        == [
            "server server-1 movies-1.example.org:8001 resolvers discovery resolve-prefer ipv4",
            "server server-2 10.0.0.2:8001",
        ]
        * 2
    )
    assert subprocess.run([engines.program("haproxy"), "-c", "-q", "-f", path], check=False).returncode == 0

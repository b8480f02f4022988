"""`scripts/attack-cluster` tells a refusal from an answer, on real engines with the certificates that the project makes."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from bench.cluster_attack.attempts import Port, attempts
from bench.cluster_attack.wire import Answer, http_request, redis

from matinee.ops import certificates
from matinee.ops.certificates import Wanted
from tests.processes import end, eventually, free_port
from tests.shared_tiers import RedisServer, running

pytestmark = pytest.mark.sqlite_only("it is of no engine of the catalogue: once is enough")
NODE = Wanted("node", ("127.0.0.1", "localhost"), is_client=True)
ROOT = Path(__file__).parents[2]


@contextmanager
def answering(status: int, body: str) -> Iterator[int]:
    """Run an HTTP server that answers everything alike, and return its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "is_refusal"),
    [
        (200, "", False),
        (401, "", True),
        (400, "invalid version", False),
        (400, "Client sent an HTTP request to an HTTPS server.", True),
        (503, "restart conditions are not satisfied", False),
    ],
)
def test_an_error_of_what_was_begun_is_no_refusal(status: int, body: str, is_refusal: bool) -> None:
    with answering(status, body) as port:
        found = http_request(port, "POST", "/restart", "{}")

    assert found == Answer(f"http: {status} {body}".strip(), is_refusal)


def test_a_redis_without_a_password_is_open_and_one_with_tls_and_a_password_refuses(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "tls", "matinee", [NODE])
    with running(RedisServer, tmp_path) as server:
        is_open = [redis(server.port, *words).is_refusal for words in (("PING",), ("SET", "a", "b"))]
    port, tls = free_port(), [f"--tls-{name}-file" for name in ("ca-cert", "cert", "key")]
    files = [f"{tmp_path}/tls/{name}" for name in ("ca.crt", "node.crt", "node.key")]
    options = [word for pair in zip(tls, files, strict=True) for word in pair]

    with running(RedisServer, tmp_path, "--requirepass", "x", "--tls-port", str(port), "--tls-auth-clients", "no", *options):
        found = [redis(port, "PING", tls=True), redis(port, "PING")]

    assert is_open == [False, False]
    assert found[0] == Answer("TLS: -NOAUTH Authentication required.", is_refusal=True)
    assert found[1].is_refusal


@contextmanager
def etcd(folder: Path) -> Iterator[int]:
    """Run an etcd that asks clients for a certificate of its CA, and return its port."""
    port, peer = free_port(), free_port()
    urls = {"listen-client-urls": f"https://127.0.0.1:{port}", "advertise-client-urls": f"https://127.0.0.1:{port}"}
    urls |= {"listen-peer-urls": f"http://127.0.0.1:{peer}", "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}"}
    urls |= {"initial-cluster": f"default=http://127.0.0.1:{peer}", "data-dir": str(folder / "data")}
    urls |= {"trusted-ca-file": f"{folder}/ca.crt", "cert-file": f"{folder}/node.crt", "key-file": f"{folder}/node.key"}
    options = ["--client-cert-auth", *(f"--{name}={value}" for name, value in urls.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["etcd", *options], stdout=log, stderr=log)
    try:
        yield port
    finally:
        end(process)


def health(folder: Path, port: int) -> bool:
    """Return whether etcd answers a client that has a certificate."""
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/health", timeout=2, context=of_client(folder)) as answer:
            return answer.status == 200
    except OSError:
        return False


def served(folder: Path, port: int) -> bytes | None:
    """Return the certificate that etcd presents."""
    link = socket.create_connection(("127.0.0.1", port), 2)
    with of_client(folder).wrap_socket(link, server_hostname="127.0.0.1") as stream:
        return stream.getpeercert(binary_form=True)


def of_client(folder: Path) -> ssl.SSLContext:
    """Return how a client with a certificate connects."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "node.crt", folder / "node.key")
    return context


@pytest.mark.skipif(shutil.which("etcd") is None or shutil.which("curl") is None, reason="needs etcd and curl")
def test_an_etcd_with_our_certificates_answers_its_clients_also_renewed_ones_and_refuses_strangers(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, "matinee", [NODE])

    with etcd(tmp_path) as port:
        eventually(lambda: health(tmp_path, port), bool, 20.0)
        made = list(attempts(Port("etcd-1", "etcd", "port", port)))
        before = served(tmp_path, port)
        certificates.ensure(tmp_path, "matinee", [NODE], renew=True)
        is_well_renewed, after = health(tmp_path, port), served(tmp_path, port)

    assert [(attempt.tried, attempt.answer.text) for attempt in made if not attempt.answer.is_refusal] == []
    assert (len(made), is_well_renewed, before == after) == (12, True, False)
    assert after == ssl.PEM_cert_to_DER_cert((tmp_path / "node.crt").read_text())  # without a reload


def test_a_port_without_attempts_is_reported() -> None:
    (found,) = attempts(Port("new-1", "new", "port", 1))

    assert found.answer == Answer("there is no attempt for this port: add one", is_refusal=False)


def test_it_ends_with_2_where_there_is_no_cluster(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.cluster_attack"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"MATINEE_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"attack-cluster: There is no cluster in {tmp_path}; make one with `matinee cluster up")

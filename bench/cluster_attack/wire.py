"""Send one attempt over HTTP, gRPC, Redis or PostgreSQL, and return what came back and whether that is a refusal.

Called by attempts.py. Each attempt has a connection of its own and a deadline, and never raises: an error is an answer too.
TLS verifies nothing and presents no certificate, because a stranger does not care whom it attacks.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  http.client loads it late, when the unprivileged user cannot read it
import http.client
import re
import shutil
import socket
import ssl
import subprocess
from base64 import b64encode
from contextlib import closing
from typing import NamedTuple

import psycopg

_DEADLINE_S = 5.0
# What a server says that refuses a stranger. Everything else is no refusal: also an error of what it began to do.
_REFUSING_STATUSES = {301, 302, 307, 308, 401, 403, 404, 405, 421}
_REFUSING_BODIES = re.compile(r"HTTP request to an HTTPS server|user name is empty|permission denied|invalid auth token")
_REFUSING_REDIS = ("-NOAUTH", "-NOPERM", "-WRONGPASS", "-DENIED")
_REFUSING_POSTGRES = re.compile(
    r"no password supplied|authentication failed|no pg_hba\.conf entry|does not support SSL|certificate"
)
_GRPC_UNAUTHENTICATED = {"7", "16"}  # PERMISSION_DENIED, UNAUTHENTICATED


class Answer(NamedTuple):
    """What came back, shortened, and whether it is a refusal."""

    text: str
    is_refusal: bool


def http_request(
    port: int, method: str, path: str, body: str = "", *, tls: bool = False, password: str | None = None
) -> Answer:
    """Send a request, with basic authentication if a password is given."""
    kind = f"{'https' if tls else 'http'}: "
    link = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=_DEADLINE_S, context=_tls())
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=_DEADLINE_S)
    )
    headers = {"content-type": "application/json"} if body else {}
    if password is not None:
        headers["authorization"] = f"Basic {b64encode(f'admin:{password}'.encode()).decode()}"
    try:
        with closing(link):
            link.request(method, path, body or None, headers)
            answer = link.getresponse()
            said = answer.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return _no_answer(kind, error)
    is_refusal = answer.status in _REFUSING_STATUSES or (answer.status >= 400 and bool(_REFUSING_BODIES.search(said)))
    return Answer(_short(f"{kind}{answer.status} {said}"), is_refusal)


def grpc(port: int, method: str, message: bytes, *, tls: bool) -> Answer:
    """Call a method of etcd's gRPC service, by curl, which speaks HTTP/2."""
    scheme, version = ("https", "--http2") if tls else ("http", "--http2-prior-knowledge")
    command = [shutil.which("curl") or "curl", "-sSk", version, "-m", str(int(_DEADLINE_S)), "-o", "/dev/null", "-D", "-"]
    command += ["-X", "POST", "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-"]
    frame = b"\0" + len(message).to_bytes(4) + message
    done = subprocess.run(
        [*command, f"{scheme}://127.0.0.1:{port}/etcdserverpb.{method}"], input=frame, capture_output=True, check=False
    )
    said = done.stdout.decode(errors="replace")
    status = re.search(r"grpc-status: (\d+)", said)
    told = f"gRPC over {scheme}: "
    if status is None:
        # 28 is curl's code of a deadline; every other one is a connection that the server ended, or a TLS alert.
        return Answer(_short(told + (done.stderr.decode(errors="replace") or said)), done.returncode not in (0, 28))
    return Answer(_short(f"{told}grpc-status {status[1]}"), status[1] in _GRPC_UNAUTHENTICATED)


def redis(port: int, *words: str, tls: bool = False) -> Answer:
    """Send one command of Redis or of Sentinel."""
    kind = "TLS: " if tls else "plain: "
    command = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    try:
        with socket.create_connection(("127.0.0.1", port), _DEADLINE_S) as link, _wrapped(link, tls=tls) as stream:
            stream.sendall(f"*{len(words)}\r\n{command}".encode())
            said = stream.recv(300).decode(errors="replace")
    except OSError as error:
        return _no_answer(kind, error)
    return Answer(_short(f"{kind}{said or 'connection closed'}"), not said or said.startswith(_REFUSING_REDIS))


def postgres(port: int, user: str, password: str | None, *, tls: bool, replication: bool = False) -> Answer:
    """Connect as a role, without a password or with a wrong one."""
    mode = "require" if tls else "disable"
    more = {"replication": "true"} if replication else {}
    kind = f"sslmode={mode}: "
    try:
        with psycopg.connect(
            host="127.0.0.1", port=port, user=user, dbname="postgres", password=password, sslmode=mode,
            gssencmode="disable", connect_timeout=int(_DEADLINE_S), **more,
        ):  # fmt: skip
            return Answer(f"{kind}connected", is_refusal=False)
    except psycopg.Error as error:
        said = str(error)
        return Answer(_short(kind + said.rpartition("failed: ")[2]), bool(_REFUSING_POSTGRES.search(said)))


def _wrapped(link: socket.socket, *, tls: bool) -> socket.socket:
    return _tls().wrap_socket(link) if tls else link


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _no_answer(kind: str, error: Exception) -> Answer:
    """Return an answer for a connection that ended without one: a refusal, unless the server was only silent.

    A plain port may wait for the end of what is no command to it, a TLS handshake: nothing was done either.
    """
    is_silent = isinstance(error, TimeoutError) and "handshake" not in str(error)
    return Answer(_short(f"{kind}{error or type(error).__name__}"), not is_silent)


def _short(text: str) -> str:
    return " ".join(text.split())[:80]

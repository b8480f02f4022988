"""A real server behind a rendered balancer with HTTPS: sign-in, redirects, trusted proxies, certificates, no internals."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from matinee.ops import node_config, rendering
from matinee.ops.layout import Local
from matinee.ops.topology import BALANCERS, Sizes, Topology
from tests.conftest import catalogue_in
from tests.movies import SMALL_CATALOGUE, record
from tests.processes import Server, eventually, free_port, start_server
from tests.public_balancer import PROXY, PublicBalancer, public_balancer, public_topology

pytestmark = pytest.mark.sqlite_only("of the catalogue only one sign-in is written: once is enough")
_PASSWORD = "a password of the tests"
_HSTS = "max-age=31536000"


class Public(PublicBalancer):
    """A balancer, and the server behind it."""

    server: Server


def told(topology: Topology) -> dict[str, str]:
    """Return what the server is told of how clients reach it, as it is rendered."""
    cluster = node_config.Cluster(topology, Local(Path(), Path(), Path(), Path()), dict.fromkeys(rendering.SECRETS, ""), {})
    settings = {name: value for name, value, _ in node_config.server_settings(cluster, topology.of("server")[0])}
    return {name: settings[name] for name in ("MATINEE_PUBLIC_URL", "MATINEE_TRUSTED_PROXIES")}


@pytest.fixture(scope="module", params=BALANCERS)
def public(request: pytest.FixtureRequest, empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Public]:
    """Return each balancer in turn before a server in production, which has a user who may sign in."""
    from django.contrib.auth.models import User

    from matinee.write import batches

    home, port = tmp_path_factory.mktemp("public"), free_port()
    topology = public_topology(request.param, port)
    with catalogue_in(home, empty_catalogue):
        batches.write([record(line, **movie) for line, movie in enumerate(SMALL_CATALOGUE, start=1)], "tests")
        User.objects.create_superuser(username="ann", password=_PASSWORD)
        settings = told(topology) | {"MATINEE_ENV": "production", "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "localhost"}
        with start_server(home, port=port, **settings) as server, public_balancer(topology) as balancer:
            made = Public(**vars(balancer))
            made.server = server
            eventually(lambda: httpx.get(made.url + "/v1/movies/1", verify=False).status_code, lambda status: status == 200)
            yield made


def signed_in(client: httpx.Client) -> httpx.Response:
    """Send the form of the admin's first page as a browser does; return the answer."""
    page = client.get("/admin/login/?next=/admin/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token is not None, page.text
    form = {"csrfmiddlewaretoken": token[1], "username": "ann", "password": _PASSWORD, "next": "/admin/"}
    headers = {"referer": str(page.url), "origin": str(client.base_url).rstrip("/")}
    return client.post("/admin/login/", data=form, headers=headers)


def test_a_user_signs_in_to_the_admin_over_https(public: Public) -> None:
    with public.client() as client:
        answer = signed_in(client)
        page = client.get("/admin/")

    cookies = {cookie.partition("=")[0]: "; Secure" in cookie for cookie in answer.headers.get_list("set-cookie")}
    assert (answer.status_code, answer.headers["location"], page.status_code) == (302, "/admin/", 200)
    assert cookies.items() >= {"matinee_session": True, "matinee_csrf": True}.items()
    assert answer.headers.get_list("strict-transport-security") == [_HSTS]


def test_links_name_the_public_url_and_every_answer_over_tls_demands_tls(public: Public) -> None:
    with public.client() as client:
        answers = [client.get(path) for path in ("/v1/movies?limit=1", "/v1/movies/1", "/metrics", "/nowhere")]

    assert answers[0].headers["link"].startswith(f"<{public.url}/v1/movies?limit=1&cursor=")
    assert [answer.headers.get_list("strict-transport-security") for answer in answers] == [[_HSTS]] * 4


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/movies?limit=1", 301), ("HEAD", "/", 301), ("POST", "/v1/movies", 308), ("GET", "//evil.example/x", 301)],
)
def test_plain_http_redirects_to_the_public_name_whatever_host_is_named(
    public: Public, method: str, path: str, status: int
) -> None:
    wire = http.client.HTTPConnection(public.plain_url.removeprefix("http://"), timeout=10)
    wire.request(method, path, headers={"host": "evil.example", "x-forwarded-proto": "https"})
    answer = wire.getresponse()
    wire.close()

    assert (answer.status, answer.headers["location"]) == (status, public.url + path)
    assert answer.headers["strict-transport-security"] is None


def test_another_host_than_the_public_name_is_refused_and_stands_nowhere(public: Public) -> None:
    with public.client() as client:
        answers = [client.get(path, headers={"host": "evil.example"}) for path in ("/v1/movies?limit=1", "/admin/login/")]

    expected = f"{public.url}/docs/errors/host-not-allowed"
    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(400, expected)] * 2
    assert not any("evil" in value for answer in answers for value in answer.headers.values())


@contextmanager
def certbot(port: int) -> Iterator[None]:
    """Answer a challenge as `certbot --standalone` does while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            forwarded = ", ".join(self.headers.get_all("x-forwarded-for", []))
            self.wfile.write(f"{self.path} for {forwarded}".encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


def test_a_challenge_over_plain_http_reaches_certbot_and_without_it_gets_a_problem(public: Public) -> None:
    challenge = "/.well-known/acme-challenge/token"

    without = httpx.get(public.plain_url + challenge)
    with certbot(public.node.place.ports["acme_port"]):
        answer = httpx.get(public.plain_url + challenge)

    assert (answer.status_code, answer.text) == (200, f"{challenge} for 127.0.0.1")
    assert without.status_code in {502, 503}
    assert without.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("source", "expected"), [(PROXY, f"192.0.2.7, {PROXY}"), ("127.0.0.9", "127.0.0.9")])
def test_what_a_stranger_says_of_the_way_it_came_is_dropped(public: Public, source: str, expected: str) -> None:
    challenge = "/.well-known/acme-challenge/token"

    with certbot(public.node.place.ports["acme_port"]), public.client(source) as client:
        answer = client.get(challenge, headers={"x-forwarded-for": "192.0.2.7"})

    assert answer.text == f"{challenge} for {expected}"


_INTERNAL = ["metrics", "readyz", "livez"]
_SPELLINGS = [
    "/{}",
    "//{}",
    "/{}/",
    "/{}?x=1",
    "/./{}",
    "/v1/../{}",
    "/%2F{}",
    "/{}%00",
    "/{}%20",
    "/{};a=b",
    "/{}%3Fx",
    "/%252F{}",
]


@pytest.mark.parametrize("name", [*_INTERNAL, "%6Detrics", "metric%73", "%72eadyz", "livez%2f"])
def test_no_spelling_of_an_internal_path_is_answered(public: Public, name: str) -> None:
    assert httpx.get(f"{public.server.url}/livez").status_code == 200  # else this shows nothing
    expected = f'"type":"{public.url}/docs/errors/not-found"'
    seen = {}
    for spelling in _SPELLINGS:
        wire = http.client.HTTPSConnection("localhost", public.node.port, context=ssl._create_unverified_context())
        wire.request("GET", spelling.format(name))
        answer = wire.getresponse()
        seen[spelling] = (answer.status, answer.headers["content-type"], expected in answer.read().decode())
        wire.close()

    assert {kind for kind in seen.values() if kind[0] != 400} == {(404, "application/problem+json", True)}, seen


def clients_logged(server: Server, request_id: str) -> list[str]:
    """Return the clients of the requests with an id, once the log has them."""

    def look() -> list[str]:
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if request_id in line]
        return [line["client"] for line in lines if line["event"] == "request"]

    return eventually(look, bool)


FORWARDED = {
    "a client behind the proxy": (PROXY, "192.0.2.7", "192.0.2.7"),
    "a client that makes up a chain": (PROXY, "10.9.8.7, 192.0.2.7", "192.0.2.7"),
    "two proxies": (PROXY, f"10.9.8.7, 192.0.2.7, {PROXY}", "192.0.2.7"),
    "an entry that is no address": (PROXY, "192.0.2.7, unknown", PROXY),
    "a stranger": ("127.0.0.9", "192.0.2.7", "127.0.0.9"),
}


@pytest.mark.parametrize("who", FORWARDED)
def test_the_server_knows_the_client_behind_trusted_proxies_only(public: Public, who: str) -> None:
    source, forwarded, expected = FORWARDED[who]
    request_id = f"{public.engine}-{list(FORWARDED).index(who)}"

    with public.client(source) as client:
        answer = client.get("/v1/movies/1", headers={"x-forwarded-for": forwarded, "x-request-id": request_id})

    assert (answer.status_code, clients_logged(public.server, request_id)) == (200, [expected])


@pytest.mark.parametrize(("source", "expected"), [(PROXY, 200), ("127.0.0.9", 301)])
def test_only_a_trusted_proxy_says_that_its_client_uses_tls(public: Public, source: str, expected: int) -> None:
    with public.client(source) as client:
        headers = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7", "host": "localhost"}
        answer = client.get(f"{public.plain_url}/v1/movies/1", headers=headers)

    assert (answer.status_code, answer.headers.get("strict-transport-security")) == (
        expected,
        _HSTS if expected == 200 else None,
    )


def test_a_limit_counts_the_clients_behind_a_proxy_and_not_the_proxy(public: Public) -> None:
    few = Sizes(client_connections=500, client_requests_per_s=2)
    strict = public_topology(public.engine, int(public.server.url.rpartition(":")[2]), sizes=few)

    with public_balancer(strict) as balancer, balancer.client(PROXY) as client:
        eventually(lambda: client.get("/docs").status_code, lambda status: status == 200)
        greedy = [client.get("/docs", headers={"x-forwarded-for": f"192.0.2.50, {PROXY}"}).status_code for _ in range(22)]
        other = client.get("/docs", headers={"x-forwarded-for": f"192.0.2.51, {PROXY}"}).status_code

    assert (greedy[0], greedy[-1], other) == (200, 429, 200)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("version", "protocol"), [("TLSv1_1", None), ("TLSv1_2", "h2"), ("TLSv1_3", "h2")])
def test_clients_get_http_2_over_tls_1_2_or_newer(public: Public, version: str, protocol: str | None) -> None:
    context = ssl.create_default_context(cafile=public.certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen = None
    try:
        with socket.create_connection(("127.0.0.1", public.node.port), 10) as plain:
            chosen = context.wrap_socket(plain, server_hostname="localhost").selected_alpn_protocol()
    except ssl.SSLError:
        pass

    assert chosen == protocol


def served_serial(public: Public) -> str:
    """Return the serial number of the certificate that clients get; `openssl` tells it as a file's."""
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("localhost", public.node.port)))
    return told_by_openssl("x509", "-inform", "DER", "-noout", "-serial", stdin=der)


def told_by_openssl(*words: str, stdin: bytes = b"") -> str:
    """Return what a command of openssl prints."""
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, timeout=30, check=True).stdout.decode()


@pytest.fixture
def fresh(public: Public, tmp_path: Path) -> tuple[Path, Path]:
    """Return a new certificate for the balancer's name and its key; `systemctl` reloads the balancer that runs here."""
    chain, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    told_by_openssl(*made.split(), "-out", str(chain), "-keyout", str(key))
    public.reload_by_systemctl()
    return chain, key


@pytest.mark.parametrize("caller", ["a person", "certbot"])
def test_a_new_certificate_is_served_after_a_reload(public: Public, fresh: tuple[Path, Path], caller: str) -> None:
    chain, key = fresh
    expected = told_by_openssl("x509", "-in", str(chain), "-noout", "-serial")

    done = (
        public.script("install", str(chain), str(key))
        if caller == "a person"
        else public.script("renewed", RENEWED_LINEAGE=str(chain.parent))
    )

    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: served_serial(public), lambda serial: serial == expected)
    assert public.certificate.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in public.certificate.parent.iterdir()) == ["public.pem"]


def test_a_certificate_that_cannot_serve_changes_nothing(public: Public, fresh: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = map(str, fresh)
    other_key, other = str(tmp_path / "other.key"), str(tmp_path / "other.pem")
    made = "req -x509 -newkey rsa:2048 -nodes -subj /CN=films.example.org -out"
    told_by_openssl(*made.split(), other, "-keyout", other_key)
    before = public.certificate.read_bytes()

    refusals = [
        public.script(*words).stderr
        for words in (
            ("install", chain, other_key),
            ("install", other, other_key),
            ("install", key, key),
            ("install", chain, str(tmp_path / "none")),
            ("install", chain),
            ("renewed",),
        )
    ]

    assert [line.removeprefix("public-certificate: ").replace(str(tmp_path), "") for line in refusals] == [
        "the key in /other.key does not belong to the certificate in /fullchain.pem\n",
        "the certificate in /other.pem is not for localhost\n",
        "/privkey.pem holds no certificate in PEM\n",
        "/none cannot be read\n",
        "use: placeholder, install CHAIN KEY, or renewed\n",
        "'renewed' is called by certbot; use: install CHAIN KEY\n",
    ]
    assert public.certificate.read_bytes() == before


def test_a_certificate_that_the_balancer_refuses_is_taken_back(public: Public, tmp_path: Path) -> None:
    """An RSA key of 512 bits is a pair, but neither engine takes it."""
    chain, key = str(tmp_path / "weak.pem"), str(tmp_path / "weak.key")
    made = "req -x509 -newkey rsa:512 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -out"
    told_by_openssl(*made.split(), chain, "-keyout", key)
    before = public.certificate.read_bytes()

    done = public.script("install", chain, key)

    assert (done.returncode, "the certificate before is in place again" in done.stderr) == (1, True)
    assert public.certificate.read_bytes() == before

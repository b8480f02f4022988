"""What every request passes: its id, CORS, health, metrics, the log, static files, the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from matinee import config as configuration
from matinee.errors import request_errors
from matinee.http.health import DRAIN_VARIABLE
from tests import postgres
from tests.client import Client
from tests.processes import Server, eventually

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ORIGIN = "https://films.example.org"


def test_a_requests_id_comes_back_and_stands_in_its_problem(client: Client) -> None:
    response = client.get("/v1/movies/1", headers={"x-request-id": "abc-123"})

    assert (response.headers["x-request-id"], response.json()["request_id"]) == ("abc-123", "abc-123")


@pytest.mark.parametrize("stated", ["", "x" * 65, "a b", "\u00e9", '"><script>'])
def test_an_id_that_is_none_is_replaced(client: Client, stated: str) -> None:
    response = client.get("/livez", headers={"x-request-id": stated.encode("latin-1")})

    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", response.headers["x-request-id"])


def test_ids_that_are_made_differ(client: Client) -> None:
    assert len({client.get("/livez").headers["x-request-id"] for _ in range(50)}) == 50


def test_each_request_is_one_line_of_the_log_with_its_id(server: Server) -> None:
    server.get("/v1/movies/1", headers={"x-request-id": "abc-1"})

    text = eventually(server.log.read_text, lambda seen: "abc-1" in seen)
    line = next(json.loads(line) for line in text.splitlines() if "abc-1" in line)
    varying = {name: line[name] for name in ("bytes", "duration_ms", "timestamp")}
    assert line == varying | {
        "event": "request", "level": "info", "method": "GET", "path": "/v1/movies/1", "status": 200, "request_id": "abc-1",
        "client": "127.0.0.1",
    }  # fmt: skip


def test_no_page_of_another_origin_may_read_unless_a_setting_says_so(client: Client, small_catalogue: Path) -> None:
    closed = client.get("/v1/movies", headers={"origin": ORIGIN})
    with Client(configuration.load(home=small_catalogue), cors_origins=(ORIGIN,)) as opened:
        allowed = opened.get("/v1/movies", headers={"origin": ORIGIN})
        other = opened.get("/v1/movies", headers={"origin": "https://elsewhere.example.org"})

    assert "access-control-allow-origin" not in closed.headers
    assert (allowed.headers["access-control-allow-origin"], allowed.headers["vary"]) == (ORIGIN, "Accept-Encoding, Origin")
    assert "access-control-allow-origin" not in other.headers


def test_a_preflight_is_answered_for_an_allowed_origin(catalogue_home: Path) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": "PATCH", "access-control-request-headers": "if-match"}
    with Client(configuration.load(home=catalogue_home), cors_origins=("*",)) as client:
        response = client.request("OPTIONS", "/v1/movies/1", headers=headers)

    assert response.status_code == 204
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert "If-Match" in response.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("origins", "path", "origin"),
    [
        ((), "/v1/movies/1", ORIGIN),
        ((ORIGIN,), "/v1/movies/1", "https://elsewhere.example.org"),
        ((ORIGIN,), "/admin/", ORIGIN),
        ((ORIGIN,), "/v1/movies/1", ""),
    ],
    ids=["no CORS", "another origin", "the admin", "no origin"],
)
def test_no_other_preflight_is_answered(catalogue_home: Path, origins: tuple[str, ...], path: str, origin: str) -> None:
    headers = {"access-control-request-method": "PATCH"} | ({"origin": origin} if origin else {})
    with Client(configuration.load(home=catalogue_home), cors_origins=origins) as client:
        response = client.request("OPTIONS", path, headers=headers)

    assert "access-control-allow-methods" not in response.headers


def test_a_preflight_counts_as_a_request(catalogue_home: Path) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": "PATCH"}
    with Client(configuration.load(home=catalogue_home), cors_origins=(ORIGIN,), client_rate=0.1) as client:
        statuses = [client.request("OPTIONS", "/v1/movies/1", headers=headers).status_code for _ in range(2)]

    assert statuses == [204, 429]


def test_livez_asks_the_catalogue_nothing(client: Client) -> None:
    before = client.reader.statements

    response = client.get("/livez")

    assert (response.json(), client.reader.statements) == ({"status": "live"}, before)


def test_readyz_tells_of_each_dependency(movies: Client) -> None:
    response = movies.get("/readyz")

    catalogue, *copies = response.json()["dependencies"]
    assert (response.status_code, response.json()["status"], response.json()["reason"]) == (200, "ready", None)
    assert catalogue == {"name": "catalogue", "status": "ok", "position": 12}
    assert [(copy["role"], copy["status"]) for copy in copies] == [("leader", "healthy")] * postgres.wanted()


def test_readyz_says_why_not_when_the_server_is_to_end(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DRAIN_VARIABLE, str(tmp_path / "draining"))
    before = client.get("/readyz").status_code
    (tmp_path / "draining").touch()

    response = client.get("/readyz")

    assert (before, response.status_code) == (200, 503)
    assert response.json()["reason"] == "The server is ending: it finishes what it has and wants no new requests."


def test_metrics_count_by_the_template_of_a_route_and_never_by_what_strangers_send(movies: Client) -> None:
    for path in ("/v1/movies/1", "/v1/movies/2", "/secret-path", "/admin/secret"):
        movies.get(path)
    movies.request("BREW", "/v1/movies/1")

    text = movies.get("/metrics").text
    assert 'matinee_http_requests_total{method="GET",route="/v1/movies/{movie_id}",status="200"}' in text
    assert 'matinee_http_requests_total{method="other",route="unmatched",status="405"}' in text
    assert [word for word in ("secret", "BREW", "movies/1") if word in text] == []


def test_every_kind_of_error_has_a_page(client: Client) -> None:
    pages = {kind.slug: client.get(f"/docs/errors/{kind.slug}") for kind in request_errors()}

    assert {slug: page.status_code for slug, page in pages.items() if page.status_code != 200} == {}
    assert all(page.headers["content-type"] == "text/html; charset=utf-8" for page in pages.values())


def test_the_documentation_loads_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert {name: client.get(name).status_code for name in named} == dict.fromkeys(named, 200)
    assert all(name.startswith("/docs/") for name in named)
    assert page.headers["content-security-policy"].startswith("default-src 'self'")


def test_the_openapi_documents_own_references_and_schemas_are_sound(client: Client) -> None:
    document = client.get("/openapi.json").json()
    text = json.dumps(document)

    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema | {"$schema": DRAFT}), name
        assert f"#/components/schemas/{name}" in text, f"{name} is used nowhere"
    referred = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert (document["openapi"], referred - document["components"]["schemas"].keys()) == ("3.1.0", set())


def test_a_document_that_is_served_has_the_documented_shape(movies: Client) -> None:
    components = movies.get("/openapi.json").json()["components"]
    schema = {"$ref": "#/components/schemas/MovieDocument", "components": components}

    jsonschema_rs.Draft202012Validator(schema).validate(movies.get("/v1/movies/1").json())


@pytest.mark.parametrize(
    "path", ["/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/static/none.css", "/static/"]
)
def test_static_paths_that_lead_nowhere_are_404(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_root_leads_to_the_documentation(client: Client) -> None:
    assert client.get("/").headers["location"] == "/docs"


def test_links_show_the_address_that_clients_know(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), public_url="https://films.example.org") as client:
        page, problem = client.get("/v1/movies?limit=1"), client.get("/v1/movies/99")

    assert page.headers["link"].startswith("<https://films.example.org/v1/movies?limit=1&cursor=")
    assert problem.json()["type"] == "https://films.example.org/docs/errors/not-found"

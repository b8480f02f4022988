"""The pages that explain the API: /docs (Swagger UI, served from here), one page a kind of error, /openapi.json.

Nothing on these pages comes from another host; the policy that they are sent with makes sure of it.
"""

from __future__ import annotations

import html
import mimetypes
from importlib import resources
from typing import Any

import msgspec
from litestar import Request, get
from litestar.params import FromPath

from matinee.config import Config
from matinee.errors import MatineeError, NotFound, request_errors
from matinee.http.answers import Answer, body_answer

_ASSETS = resources.files("drf_spectacular_sidecar") / "static" / "drf_spectacular_sidecar" / "swagger-ui-dist"
_SERVED = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_POLICY = (
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

# What to do about each error, by its slug; the test of this page asks for every one.
REMEDIES = {
    "bad-request": "Read `detail`; the request could not be understood as it was sent.",
    "invalid-parameter": "`detail` names the parameter, the value and what is allowed. Correct it and send the request again.",
    "unknown-parameter": "`detail` names the nearest parameter. A filter that is not known is refused, not ignored.",
    "invalid-cursor": "Follow `next_cursor` with the same filters and sort that made it, or leave `cursor` out to begin again.",
    "future-position": "Send a position that an answer of this catalogue told (`Matinee-Position`), or leave the header out.",
    "host-not-allowed": "Use a host name of this service. Its owner adds names with ALLOWED_HOSTS.",
    "malformed-body": "Send UTF-8 JSON; `detail` says where it stops being that.",
    "unauthenticated": "Send `Authorization: Bearer KEY`. The owner makes keys with `matinee key create`.",
    "forbidden": "The key is good, but its scope is not. Ask the owner for a key of scope write.",
    "not-found": "Check the address or the id; movies are found with /v1/search?q=...",
    "method-not-allowed": "The `Allow` header lists what this address takes.",
    "request-timeout": "Send the whole body at once, on a new connection. The owner sets the time: MATINEE_BODY_TIMEOUT_S.",
    "conflict": "`detail` names what is in the way: often another movie with the same id of another catalogue. Merge the two.",
    "gone": "The movie was deleted on purpose. Take it out of your lists.",
    "stale-version": "Read the movie again and repeat your change on that. `current_version` is the version now.",
    "weak-etag": "Read the movie and send its ETag as it is. One that begins with W/ was weakened on its way, by compression.",
    "body-too-large": "Send less, or let the owner raise MATINEE_MAX_BODY_BYTES.",
    "unsupported-media-type": "Send `Content-Type: application/json` (PATCH also takes application/merge-patch+json).",
    "idempotency-key-reused": "Use a new Idempotency-Key for a new request; the old one is bound to the first for 24 hours.",
    "invalid-body": "`errors` lists each fault with a JSON pointer to where it is.",
    "precondition-required": "Read the movie and send its ETag as `If-Match`, so that nobody's change is overwritten unseen.",
    "too-many-requests": "Wait as long as `Retry-After` says, then send fewer requests; `RateLimit` tells what is left.",
    "client-gone": "Send the whole body before you close the connection. Nothing was changed.",
    "internal-error": "A fault of ours. Give the `request_id` to the owner; it finds the fault in the log.",
    "unavailable": "Try again after the seconds in `Retry-After`.",
    "leader-unavailable": "Writes wait for the leader; reads go on. Try again after the seconds in `Retry-After`.",
    "no-reader-available": "No copy of the catalogue answers. Try again after the seconds in `Retry-After`.",
    "overloaded": "Nothing was done. Wait for the seconds in `Retry-After`, then try again; not sooner, or it lasts longer.",
}

# Each %b is the path of MATINEE_PUBLIC_URL.
_SWAGGER = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Matinee API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="%b/docs/assets/swagger-ui.css"><link rel="icon" href="%b/docs/assets/favicon-32x32.png">
</head><body><div id="swagger-ui"></div>
<script src="%b/docs/assets/swagger-ui-bundle.js"></script><script src="%b/docs/assets/start.js"></script></body></html>
"""
_START = b"""SwaggerUIBundle({url: "%b/openapi.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true});
"""


def page(body: bytes, content_type: bytes = b"text/html; charset=utf-8", max_age_s: int = 300) -> Answer:
    """Return a page or an asset with the policy that keeps it from loading anything from elsewhere."""
    headers = [
        (b"content-security-policy", _POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"public, max-age=%d" % max_age_s),
    ]
    return Answer(200, body, headers, content_type)


@get("/")
async def home(request: Request[Any, Any, Any]) -> Answer:
    """Lead to the documentation."""
    return Answer(302, b"", [(b"location", b"%b/docs" % _path(request)), (b"cache-control", b"no-store")])


@get("/docs")
async def docs(request: Request[Any, Any, Any]) -> Answer:
    """Answer the API's documentation."""
    return page(_SWAGGER % ((_path(request),) * _SWAGGER.count(b"%b")))


@get("/docs/assets/{name:str}")
async def asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Answer:
    """Answer a file of the documentation page."""
    if name == "start.js":
        return page(_START % _path(request), b"text/javascript", 86_400)
    if name not in _SERVED:
        raise NotFound(f"The documentation has no file {name[:60]!r}.")
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return page((_ASSETS / name).read_bytes(), content_type.encode(), 86_400)


@get("/docs/errors/{slug:str}")
async def error_page(request: Request[Any, Any, Any], slug: FromPath[str]) -> Answer:
    """Answer the page of one kind of error: its `type` leads here."""
    for kind in request_errors():
        if kind.slug == slug:
            return page(_error_html(kind, _path(request).decode()).encode())
    raise NotFound(f"There is no error {slug[:60]!r}.")


def _path(request: Request[Any, Any, Any]) -> bytes:
    config: Config = request.app.state.runtime.config
    return config.public_path.encode()


def _error_html(kind: type[MatineeError], path: str) -> str:
    title, remedy = html.escape(kind.title()), html.escape(REMEDIES[kind.slug])
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{kind.status} {kind.slug} - Matinee</title>"
        f"<link rel='icon' href='{path}/docs/assets/favicon-32x32.png'>"
        "<style>body{font:1rem/1.5 system-ui;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#1c1917}"
        "code{background:#f5f5f4;padding:.1rem .3rem;border-radius:.2rem}</style></head>"
        f"<body><h1>{title}</h1><p><code>{kind.status}</code> <code>{kind.slug}</code></p><p>{remedy}</p>"
        f"<p><a href='{path}/docs'>All of the API</a></p></body></html>"
    )


@get("/openapi.json")
async def openapi_json(request: Request[Any, Any, Any]) -> Answer:
    """Answer the OpenAPI document."""
    config: Config = request.app.state.runtime.config
    return body_answer(request.scope, config, msgspec.json.encode(request.app.state.openapi))


HANDLERS = [home, docs, asset, error_page, openapi_json]

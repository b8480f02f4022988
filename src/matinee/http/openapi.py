"""The OpenAPI 3.1 document: made of the routes that the application really has, each with the operation its handler carries.

Called by app.py once at the start and by `matinee openapi`. A route under /v1 without an operation is an error: nothing that is
served stays undocumented.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from matinee import __version__
from matinee.domain.ids import MAX_ID
from matinee.domain.movie import ADDED_FIELDS, Card, MovieContent, MovieDocument, Person
from matinee.domain.query import CURSOR, Parameter
from matinee.http.operations import IDEMPOTENCY_KEY, Operation
from matinee.http.problems import Problem
from matinee.storage.reader import ChangeRow, GenreRow

_REF = "#/components/schemas/{name}"
_ALWAYS = (429, 503)  # any operation may meet a limit, or a catalogue that cannot be reached


def _header(description: str, kind: str = "string", *, always: bool = True) -> dict[str, Any]:
    return {"description": description, "required": always, "schema": {"type": kind}}


_ETAG = {"ETag": _header("Names these bytes.")}
_POSITION = {"Matinee-Position": _header("The position of this write.", "integer")}
_REPLAYED = {"Idempotent-Replayed": _header("`true` when this was answered before.", always=False)}
_NEXT = {"Link": _header('`<...>; rel="next"`, the address of the next page where there is one.', always=False)}
_MOVED = {"Location": _header("The address of the movie.")}
# What an error's answer carries beside its body, by status.
_PROBLEM_HEADERS = {
    401: {"WWW-Authenticate": _header("`Bearer`: a key is needed.")},
    429: {
        "Retry-After": _header("Seconds until it is worth trying again.", "integer"),
        "RateLimit": _header('What is left: `"client";r=0;t=10`.', always=False),
        "RateLimit-Policy": _header('The limit: `"client";q=1000;w=10`, or `"key";...`.', always=False),
    },
    412: {"ETag": _header("Names the movie as it is now.", always=False)},
    503: {"Retry-After": _header("Seconds until it is worth trying again.", "integer")},
}
# The words are not closed lists: a client is to pass over those that it does not know.
_CHANGE_WORDS = {
    "subject": "movie, person, genre, language, country or company; `cache` for a purge, which changes nothing.",
    "subject_id": "The subject's id; of a purge the movie's, or 0 for everything.",
    "kind": "created, updated, deleted, merged or purged.",
    "version": "The subject's version since then; 0 for a purge.",
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": _REF.format(name=name)}}


def schemas() -> dict[str, Any]:
    """Return every schema of the document, made from the structs that encode the answers."""
    structs = [MovieDocument, MovieContent, Card, Person, Problem]
    _, found = msgspec.json.schema_components(structs, ref_template=_REF)
    for name, row in (("Genre", GenreRow), ("Change", ChangeRow)):
        (found[name],), _ = msgspec.json.schema_components([_struct_of(name, row)], ref_template=_REF)[1].values(), None
    for name, text in _CHANGE_WORDS.items():
        found["Change"]["properties"][name]["description"] = text
    ignored = {"description": "The catalogue's own; left out, so that an answer can be edited and sent back."}
    found["MovieContent"]["properties"] |= dict.fromkeys(sorted(ADDED_FIELDS), ignored)
    cursor = {"type": ["string", "null"]}
    page = _object(items=_list_of("Card"), next_cursor=cursor, has_more={"type": "boolean"})
    suggestion = _object(
        kind={"enum": ["movie", "person"]},
        id={"type": "integer"},
        text={"type": "string"},
        year={"type": ["integer", "null"]},
    )
    found |= {
        "CardPage": page,
        "PersonPage": _object(id={"type": "integer"}, name={"type": "string"}, movies={"$ref": _REF.format(name="CardPage")}),
        "Genres": _object(items=_list_of("Genre")),
        "Changes": _object(items=_list_of("Change"), position={"type": "integer"}, has_more={"type": "boolean"}),
        "Suggestions": _object(items={"type": "array", "items": suggestion}),
        "MergeInto": _object(into={"type": "integer", "minimum": 1, "maximum": MAX_ID}) | {"additionalProperties": False},
        "MoviePatch": _patch_of(found["MovieContent"]),
    }
    for name in ("PersonRef", "CastRef"):
        found[name]["anyOf"] = [
            {"required": [key], "properties": {key: {"type": kind}}} for key, kind in (("name", "string"), ("id", "integer"))
        ]
    return found


def _struct_of(name: str, row: Any) -> Any:
    return msgspec.defstruct(name, list(row.__annotations__.items()), namespace={"__doc__": row.__doc__}, module=row.__module__)


def _patch_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a merge patch: any field may stand, null takes it away, only the title must stay."""
    properties = {
        name: schema if name == "title" else {"anyOf": [schema, {"type": "null"}]}
        for name, schema in content["properties"].items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def document(app: Litestar, public_path: str) -> dict[str, Any]:
    """Return the OpenAPI document of the application below a path.

    Raises: ValueError for a route of /v1 without an operation.
    """
    paths: dict[str, Any] = {}
    for route in app.routes:
        if not route.path.startswith("/v1"):
            continue
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        for handler in getattr(route, "route_handlers", ()):
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                paths.setdefault(path, {})[method.lower()] = _operation(path, handler)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Matinee",
            "version": __version__,
            "description": "A movie catalogue: read by anybody, written by its admins.",
        },
        "servers": [{"url": public_path or "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`matinee key create`"}},
        },
    }


def _operation(path: str, handler: HTTPRouteHandler) -> dict[str, Any]:
    operation = handler.opt.get("operation")
    if not isinstance(operation, Operation):
        raise ValueError(f"{path} has no operation; describe it in its handler's opt")
    parameters = [_query_parameter(item) for item in operation.query]
    parameters += [*operation.headers, *([operation.path] if operation.path else [])]
    result: dict[str, Any] = {
        "operationId": handler.handler_name,
        "summary": operation.summary,
        "description": (handler.fn.__doc__ or "").strip(),
        "tags": ["Writes" if operation.writes else "Reads"],
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.body:
        content = {kind: {"schema": {"$ref": _REF.format(name=operation.body)}} for kind in operation.body_types}
        result["requestBody"] = {"required": True, "content": content}
    if operation.writes:
        result["security"] = [{"key": []}]
    return result


def _query_parameter(item: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": item.schema, "maxItems": 20, "minItems": 1} if item.repeatable else item.schema
    described = {"name": item.name, "in": "query", "required": item.required, "description": item.help, "schema": schema}
    return described | ({"style": "form", "explode": True} if item.repeatable else {})


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, name in operation.answers.items():
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if name:
            response["content"] = {"application/json": {"schema": {"$ref": _REF.format(name=name)}}}
        if headers := _answer_headers(operation, status):
            response["headers"] = headers
        responses[str(status)] = response
    secured = (401, 403) if operation.writes else (401,)
    for status in sorted({*operation.problems, *secured, *_ALWAYS}):
        response = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
        if status in _PROBLEM_HEADERS:
            response["headers"] = _PROBLEM_HEADERS[status]
        responses[str(status)] = response
    if operation.query:
        # The server's own answers, before any of our code is asked.
        responses["414"] = {"description": "The address is longer than 64 KiB; the answer has no body."}
        responses["431"] = {"description": "Address and headers are longer than 72 KiB; the answer has no body."}
    return responses


def _answer_headers(operation: Operation, status: int) -> dict[str, Any]:
    headers = _POSITION if operation.writes else {}
    if operation.answers[status] or status == 304:
        headers = headers | _ETAG
    if status in (201, 301):
        headers = headers | _MOVED
    if IDEMPOTENCY_KEY in operation.headers:
        headers = headers | _REPLAYED
    return headers | _NEXT if status == 200 and CURSOR in operation.query else headers

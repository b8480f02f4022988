"""Is this process alive, is it ready, what has it counted: /livez, /readyz, /metrics. Called by load balancers and Prometheus.

The service's own listener answers a status alone. What names databases, their addresses and lag is for operators: on the listener of MATINEE_OPS_ADDRESS (ops_listener.py), and for `matinee get`.
Invariant: /livez never touches the catalogue, so that a slow disk does not get every server killed at once.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, get

from matinee.errors import MatineeError, NotFound
from matinee.http.answers import Answer, plain_json
from matinee.http.metrics import exposition, is_of_processes
from matinee.http.shared_value import SharedValue
from matinee.runtime import Runtime

OPERATOR = "matinee.operator"  # stands in the scope of a request that did not come over the service's own listener
DRAIN_VARIABLE = "_MATINEE_DRAIN_FILE"  # set by the server's parent process for its workers; no setting of a user's
_POSITION_KEPT_S = 0.1  # one statement of the database for all requests within this time
_METRICS_KEPT_S = 1.0  # counts are published once a second anyway


class Health:
    """What health requests share, so that a flood of them costs little: they need no place and are never turned away."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.position = SharedValue(runtime.catalogue.position, _POSITION_KEPT_S)
        self.metrics = SharedValue(self._exposition, _METRICS_KEPT_S)

    async def _exposition(self) -> tuple[bytes, bytes]:
        self._runtime.publish()
        # To read the files of several processes takes 30 ms, which requests must not wait for.
        return await asyncio.to_thread(exposition) if is_of_processes() else exposition()


def draining() -> bool:
    """Return whether the server has been told to end and wants no new requests."""
    path = os.environ.get(DRAIN_VARIABLE)
    return path is not None and Path(path).exists()


@get("/livez")
async def livez() -> Answer:
    """Answer that the process runs."""
    return plain_json(b'{"status":"live"}')


@get("/readyz")
async def readyz(request: Request[Any, Any, Any]) -> Answer:
    """Answer whether requests should come here; to an operator also why not, with a line for each dependency.

    "degraded" is ready too: readers are served, and something is missed, such as the leader. To take a server out for that
    would take all of them out at once.
    """
    state = await _state(request)
    is_ready = state["status"] != "not ready"
    if not _is_for_operators(request):
        state = {"status": "ready" if is_ready else "not ready"}
    return plain_json(msgspec.json.encode(state), 200 if is_ready else 503)


async def _state(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return all that this process knows of its readiness."""
    runtime: Runtime = request.app.state.runtime
    reason, catalogue = None, {"name": "catalogue", "status": "ok", "position": 0}
    try:
        catalogue["position"] = await request.app.state.health.position.get()
    except MatineeError as error:
        reason = f"The catalogue cannot be read: {error.for_operators}"
        catalogue = {"name": "catalogue", "status": "down", "reason": error.for_operators}
    reason = reason or request.app.state.warming.reason
    if draining():
        reason = "The server is ending: it finishes what it has and wants no new requests."
    degradation = runtime.catalogue.degradation()
    status = "not ready" if reason else "degraded" if degradation else "ready"
    dependencies = [catalogue, *runtime.catalogue.status()]
    return {"status": status, "reason": reason or degradation, "dependencies": dependencies}


@get("/metrics")
async def metrics(request: Request[Any, Any, Any]) -> Answer:
    """Answer what has been counted, for Prometheus. Raises: NotFound on the service's own listener."""
    if not _is_for_operators(request):
        raise NotFound("/metrics is not served here. Operators find it at MATINEE_OPS_ADDRESS.")
    body, content_type = await request.app.state.health.metrics.get()
    return Answer(200, body, [(b"cache-control", b"no-store")], content_type)


def _is_for_operators(request: Request[Any, Any, Any]) -> bool:
    runtime: Runtime = request.app.state.runtime
    return OPERATOR in request.scope or runtime.config.serves_operators


HANDLERS = [livez, readyz, metrics]

"""Put the service together: the Litestar application, Django beside it, the front before both.

Called by asgi.py, cli and the tests, after Django was set up.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from litestar import Litestar
from litestar.datastructures import State

from matinee import runtime as runtime_module
from matinee.config import Config
from matinee.http import docs, health, openapi, problems, reads, writes
from matinee.http.certificate_metrics import CertificateMetrics
from matinee.http.connection_guard import ConnectionGuard
from matinee.http.front import Front
from matinee.http.limits import Limits
from matinee.http.log_metrics import LogMetrics
from matinee.http.ops_listener import OpsListener, inherited
from matinee.http.public_reads import PublicReads
from matinee.http.sign_in_slots import SignInSlots
from matinee.http.warming import Warming
from matinee.http.watchdog import Watchdog
from matinee.storage.source import Source


class Beside(Protocol):
    """What runs beside the requests from the start of the application to its end."""

    async def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End."""


def api(config: Config, source: Source | None = None) -> Litestar:
    """Return the API as a Litestar application; Django has been set up before."""
    runtime = runtime_module.build(config, source)
    limits = Limits(runtime)
    public = PublicReads(runtime, limits)
    warming = Warming(runtime, public)
    watchdog = Watchdog(config.stuck_after_s)
    runtime.publishers.append(watchdog.publish)
    beside: list[Beside] = []

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        runtime.start()
        limits.start()
        warming.start()
        watchdog.start()
        for each in beside:
            await each.start()
        yield
        for each in beside:
            await each.close()
        watchdog.stop()
        await warming.close()
        await limits.close()
        await runtime.close()

    app = Litestar(
        [*reads.HANDLERS, *writes.HANDLERS, *health.HANDLERS, *docs.HANDLERS],
        exception_handlers={Exception: problems.handle},
        lifespan=[lifespan],
        state=State(
            {
                "runtime": runtime,
                "reads": public,
                "warming": warming,
                "limits": limits,
                "health": health.Health(runtime),
                "touched": {},
                "beside": beside,
            }
        ),
        openapi_config=None,  # openapi.py makes the document: ours states the headers and statuses that are really sent
        logging_config=None,
        request_max_body_size=None,  # the front counts
    )
    app.state.openapi = openapi.document(app, config.public_path)
    return app


def build(config: Config, source: Source | None = None) -> Front:
    """Return the whole service as one ASGI application, over the settings' source of reads or another one."""
    application = api(config, source)
    state = application.state
    front = Front(application, state.reads, _django(config), config, _methods(application), state.limits)
    state.runtime.publishers += [front.publish, LogMetrics(front.access_log).publish]
    state.runtime.publishers.append(CertificateMetrics(config).publish)
    return front


def build_for_server(config: Config) -> Front:
    """Return the service for a worker of a real server: with its connection guard and its health listener."""
    front = build(config)
    state = front.api.state  # type: ignore[attr-defined]
    guard = ConnectionGuard(config, front.under_way)
    state.runtime.publishers.append(guard.publish)
    guard.start()
    if (listener := inherited()) is not None:
        state.beside.append(OpsListener(front.__call__, listener))
    return front


def _methods(application: Litestar) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for route in application.routes:
        found.setdefault(route.path, set()).update(getattr(route, "methods", ()))
    return {re.sub(r":\w+}", "}", path): problems.with_head(",".join(methods)) for path, methods in found.items()}


def _django(config: Config) -> SignInSlots:
    from matinee.http.django_pages import DjangoPages
    from matinee.http.static import StaticFiles

    return SignInSlots(StaticFiles(DjangoPages()), config)

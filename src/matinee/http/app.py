"""Put the service together: the Litestar application, Django beside it, the front before both.

Called by asgi.py, cli and the tests, after Django was set up.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State

from matinee import runtime as runtime_module
from matinee.config import Config
from matinee.http import docs, health, openapi, problems, reads, writes
from matinee.http.front import AsgiApp, Front
from matinee.http.public_reads import PublicReads
from matinee.http.sign_in_slots import SignInSlots
from matinee.http.warming import Warming
from matinee.http.watchdog import Watchdog
from matinee.storage.source import Source


def api(config: Config, source: Source | None = None) -> Litestar:
    """Return the API as a Litestar application; Django has been set up before."""
    runtime = runtime_module.build(config, source)
    public = PublicReads(runtime)
    warming = Warming(runtime, public)
    watchdog = Watchdog(config.stuck_after_s)
    runtime.publishers.append(watchdog.publish)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        runtime.start()
        warming.start()
        watchdog.start()
        yield
        watchdog.stop()
        await warming.close()
        await runtime.close()

    app = Litestar(
        [*reads.HANDLERS, *writes.HANDLERS, *health.HANDLERS, *docs.HANDLERS],
        exception_handlers={Exception: problems.handle},
        lifespan=[lifespan],
        state=State({"runtime": runtime, "reads": public, "warming": warming, "touched": {}}),
        openapi_config=None,  # openapi.py makes the document: ours states the headers and statuses that are really sent
        logging_config=None,
        request_max_body_size=None,  # the front counts
    )
    app.state.openapi = openapi.document(app)
    return app


def build(config: Config, source: Source | None = None) -> Front:
    """Return the whole service as one ASGI application, over the settings' source of reads or another one."""
    application = api(config, source)
    front = Front(application, application.state.reads, _django(config), config, _methods(application))
    application.state.runtime.publishers.append(front.publish)
    return front


def _methods(application: Litestar) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for route in application.routes:
        found.setdefault(route.path, set()).update(getattr(route, "methods", ()))
    return {re.sub(r":\w+}", "}", path): problems.with_head(",".join(methods)) for path, methods in found.items()}


def _django(config: Config) -> AsgiApp:
    from django.core.handlers.asgi import ASGIHandler

    from matinee.http.static import StaticFiles

    return SignInSlots(StaticFiles(ASGIHandler()), config)

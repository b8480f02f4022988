"""Who may read and write: anybody reads unless the setting says otherwise, writers show a key. Called by the handlers."""

from __future__ import annotations

import datetime as dt
import math
import time
from typing import Any

from litestar import Request

from matinee.errors import Unauthenticated
from matinee.http.freshness import demand_of
from matinee.http.limits import KEY_REFUSED
from matinee.http.parameters import bearer
from matinee.read.catalogue import Catalogue
from matinee.runtime import Runtime
from matinee.storage import leader_link
from matinee.storage.leader_state import leader
from matinee.storage.reader import KeyRow
from matinee.write import keys

TOUCH_INTERVAL_S = 60  # "last used" is good to the minute; a write for each request would cost more than the request


async def catalogue_for(request: Request[Any, Any, Any]) -> tuple[Runtime, Catalogue]:
    """Return the runtime and the catalogue for a request that may read. Raises: Unauthenticated."""
    runtime: Runtime = request.app.state.runtime
    if not runtime.config.public_reads:
        await _authenticated(request, runtime, "read")
    scope: Any = request.scope
    return runtime, runtime.catalogue.view(demand_of(scope, knows_etag=True), scope.get("matinee.asking"))


async def writer_for(request: Request[Any, Any, Any]) -> tuple[Runtime, str]:
    """Return the runtime and who writes. Raises: Unauthenticated, Forbidden, LeaderUnavailable."""
    runtime: Runtime = request.app.state.runtime
    # Before the write thread is asked: a write that waits there for a leader that is gone would keep this one waiting.
    leader_link.require()
    key = await _authenticated(request, runtime, "write")
    return runtime, f"key:{key.prefix}"


async def _authenticated(request: Request[Any, Any, Any], runtime: Runtime, scope: str) -> KeyRow:
    try:
        key = await runtime.catalogue.authenticate(bearer(request), scope)
    except Unauthenticated:
        stated: Any = request.scope
        stated[KEY_REFUSED] = True
        raise
    # The interval is monotonic: after a moment with a clock that was ahead, no key would be touched for as long as it was.
    now_s = time.monotonic()
    touched: dict[int, float] = request.app.state.touched
    if not leader.away and now_s - touched.get(key.id, -math.inf) >= TOUCH_INTERVAL_S:
        touched[key.id] = now_s
        # Nobody waits for it: losing one tells a minute too little; failing a request for it would be worse.
        runtime.writes.submit(keys.touch, key.id, dt.datetime.now(dt.UTC))
    return key

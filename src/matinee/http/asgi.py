"""The application as a server imports it: `matinee.http.asgi:create_app`, a factory.

Its settings come from the environment, where the command line has put what it was told.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from matinee import config, logs, runtime

if TYPE_CHECKING:
    from matinee.http.exchange import AsgiApp


def create_app() -> AsgiApp:
    """Return the service of this worker process."""
    settings = config.load()
    logs.setup(settings)
    logs.take_over()
    runtime.setup_django()
    # Django's models can be imported only after it has been set up, and the handlers import them.
    from matinee.http.app import build_for_server
    from matinee.http.public_path import below

    front = build_for_server(settings)
    gc.collect()
    gc.freeze()  # what was made until now lives as long as the process; to walk over it takes 50 ms of each full collection
    # The method itself: it would be looked up for each request.
    return below(settings.public_path, front.__call__)

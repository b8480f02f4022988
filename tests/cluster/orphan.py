"""A server process that dies while its worker starts: `python orphan.py FILE`.

The worker waits until its parent is gone, does what a worker does first, and writes down how that went.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from pathlib import Path

from matinee.ops import server


def _start(parent: int, told: Path) -> None:
    while os.getppid() == parent:
        threading.Event().wait(0.01)
    try:
        server._load_in_worker(parent, lambda: None, None, "builtins:dict")
        told.write_text("went on")
    except SystemExit as end:
        told.write_text(f"ended with {end}")


if __name__ == "__main__":
    multiprocessing.get_context("fork").Process(target=_start, args=(os.getpid(), Path(sys.argv[1]))).start()
    os._exit(0)

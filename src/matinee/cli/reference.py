"""The whole command line under the name that Typer's own tools look for; scripts/docs makes docs/cli.md of it."""

from __future__ import annotations

from matinee.cli.commands import application

app = application()

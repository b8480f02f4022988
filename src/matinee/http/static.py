"""The admin's static files, served by the process itself. Called by app.py, before Django's own handler."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpResponseNotFound


class StaticFiles(ASGIStaticFilesHandler):
    """Django's handler of static files, with a 404 where it would fail on a path that leads out of its folders."""

    async def get_response_async(self, request: Any) -> Any:
        """Answer a file, for an hour: a new version of the program brings new ones."""
        try:
            response = await super().get_response_async(request)
        except (SuspiciousOperation, Http404, ValueError):
            return HttpResponseNotFound("There is no such file.", content_type="text/plain")
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

"""Lists that are bounded by length: on PostgreSQL, whose planner takes the index only when few movies pass the bound."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def add_index(apps: Any, schema_editor: Any) -> None:
    """Index the lengths."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("CREATE INDEX document_runtime ON movie_document (runtime_key, movie_id)")


def drop_index(apps: Any, schema_editor: Any) -> None:
    """Drop the index."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX document_runtime")


class Migration(migrations.Migration):
    """Suits the code before it, which does not ask for it."""

    dependencies = (("catalogue", "0003_postgresql"),)
    operations = (migrations.RunPython(add_index, drop_index),)

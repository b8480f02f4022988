"""What Django has no words for: the full-text index, and the one row of the log's head."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from matinee.storage import search_index


def create_index(apps: Any, schema_editor: Any) -> None:
    """Create the full-text index."""
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.execute(search_index.CREATE_POSTGRESQL if is_postgresql else search_index.CREATE)


def drop_index(apps: Any, schema_editor: Any) -> None:
    """Drop the full-text index."""
    schema_editor.execute("DROP TABLE movie_search")


def add_head(apps: Any, schema_editor: Any) -> None:
    """Add the head of the log, at position 0."""
    apps.get_model("catalogue", "LogHead").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    """Suits the code before it, which knows neither."""

    dependencies = (("catalogue", "0001_initial"),)
    operations = (
        migrations.RunPython(create_index, drop_index),
        migrations.RunPython(add_head, migrations.RunPython.noop),
    )

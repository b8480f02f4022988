"""On PostgreSQL the orders within a facet carry the other keys too, so that a bound on one of them is checked within the index.

Without them each movie of the facet that a bound passes over costs a look at its row: a rare pair, deep in a list, took a hundred
milliseconds at a million movies.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

KEYS = ("popularity_key", "rating_key", "votes_key", "year_key")


def hold_all_keys(apps: Any, schema_editor: Any) -> None:
    """Make the four indexes anew, with the keys that they are not ordered by beside."""
    _make(schema_editor, lambda key: f" INCLUDE ({', '.join(other for other in KEYS if other != key)})")


def hold_own_key(apps: Any, schema_editor: Any) -> None:
    """Make the four indexes as Django would."""
    _make(schema_editor, lambda key: "")


def _make(schema_editor: Any, beside: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    for key in KEYS:
        name = f"facet_{key.removesuffix('_key')}"
        schema_editor.execute(f"DROP INDEX {name}")
        schema_editor.execute(f"CREATE INDEX {name} ON movie_facet (facet_id, {key}, movie_id){beside(key)}")


class Migration(migrations.Migration):
    """Suits the code before it: the names, and what the indexes are ordered by, stay."""

    dependencies = (("catalogue", "0004_runtime_index"),)
    operations = (migrations.RunPython(hold_all_keys, hold_own_key),)

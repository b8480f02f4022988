"""What PostgreSQL needs beside the tables: texts that are ordered by code point as everywhere else, and no index twice."""

from __future__ import annotations

from typing import Any

from django.db import migrations

# Texts that are compared with or ordered by what this program folded.
BY_CODE_POINT = {
    "movie": ("title_fold",),
    "movie_document": ("title_key",),
    "person": ("name", "name_fold"),
    "facet": ("name_fold",),
    "external_id": ("scheme", "value"),
    "api_key": ("prefix", "digest"),
    "idempotent_answer": ("digest",),
}


def order_by_code_point(apps: Any, schema_editor: Any) -> None:
    """Give those columns the collation "C", which makes the second index that Django gives each of them useless."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = ANY(%s) "
            "AND indexdef LIKE '%%\\_pattern\\_ops%%'",
            [list(BY_CODE_POINT)],
        )
        doubled = [name for (name,) in cursor.fetchall()]
    for name in doubled:
        schema_editor.execute(f'DROP INDEX "{name}"')
    for table, columns in BY_CODE_POINT.items():
        for column in columns:
            model = next(item for item in apps.get_app_config("catalogue").get_models() if item._meta.db_table == table)
            kind = model._meta.get_field(column).db_type(schema_editor.connection)
            schema_editor.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} COLLATE "C"')


class Migration(migrations.Migration):
    """Suits the code before it, which runs on SQLite only."""

    dependencies = (("catalogue", "0002_search_and_head"),)
    operations = (migrations.RunPython(order_by_code_point, migrations.RunPython.noop),)

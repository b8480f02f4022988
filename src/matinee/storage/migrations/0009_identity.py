"""Facets that fold alike may be several, and the head of the log says with which rules the folds were made.

"カス商事" and "ガス商事" were one company, because a folded name had to be unique. Rebuilding the folds themselves takes longer than a
migration should: `matinee migrate` does it afterwards, in batches (storage/refolding.py).
"""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def order_by_code_point(apps: Any, schema_editor: Any) -> None:
    """On PostgreSQL, compare the names of facets by code point, as everywhere else."""
    if schema_editor.connection.vendor == "postgresql":
        kind = apps.get_model("catalogue", "Facet")._meta.get_field("name").db_type(schema_editor.connection)
        schema_editor.execute(f'ALTER TABLE facet ALTER COLUMN name TYPE {kind} COLLATE "C"')


class Migration(migrations.Migration):
    """Suits the code before it, which never gives two facets one fold."""

    dependencies = (("catalogue", "0008_sign_in_attempts"),)
    operations = (
        migrations.AddField("LogHead", "folding", models.IntegerField(default=0, db_default=0)),
        migrations.RemoveConstraint("Facet", "facet_once"),
        migrations.RunPython(order_by_code_point, migrations.RunPython.noop),
        migrations.AddConstraint("Facet", models.UniqueConstraint(fields=("kind", "name"), name="facet_name_once")),
        migrations.AddIndex("Facet", models.Index(fields=("kind", "name_fold", "id"), name="facet_fold")),
    )

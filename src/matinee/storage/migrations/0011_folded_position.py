"""The head of the log says up to which position rows were folded by the current rules.

A server of an older version that runs during an upgrade does not write this column, so what it changes shows as a gap
(storage/refolding.py).
"""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def all_folded(apps: Any, schema_editor: Any) -> None:
    """Count what is there as folded: if it was by other rules, `folding` says so, and all of it is folded again."""
    apps.get_model("catalogue", "LogHead").objects.update(folded_position=models.F("position"))


class Migration(migrations.Migration):
    """Suits the code before it, which does not know the column."""

    dependencies = (("catalogue", "0010_popularity_moment"),)
    operations = (
        migrations.AddField("LogHead", "folded_position", models.BigIntegerField(default=0, db_default=0)),
        migrations.RunPython(all_folded, migrations.RunPython.noop),
    )

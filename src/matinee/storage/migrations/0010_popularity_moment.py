"""When each movie was last counted: a score from a clock that was ahead can be brought back to the present."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Suits the code before it, which writes rows without the column."""

    dependencies = (("catalogue", "0009_identity"),)
    operations = (migrations.AddField("moviepopularity", "at", models.FloatField(db_default=0.0)),)

"""How much movies are asked for: scores that lose weight with time, one row for each movie."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Suits the code before it, which does not know of the table."""

    dependencies = (("catalogue", "0005_facet_orders"),)
    operations = (
        migrations.CreateModel(
            name="MoviePopularity",
            fields=[
                ("movie_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("day", models.FloatField()),
                ("week", models.FloatField()),
            ],
            options={
                "db_table": "movie_popularity",
                "indexes": [
                    models.Index(fields=("day", "movie_id"), name="popularity_day"),
                    models.Index(fields=("week", "movie_id"), name="popularity_week"),
                ],
            },
        ),
    )

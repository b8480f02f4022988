"""The rows that the baseline reads: Matinee's own models, and the external ids with the foreign key that an ORM wants."""

from __future__ import annotations

from django.db import models

from matinee.storage.models import Movie


class ExternalId(models.Model):
    """A movie's id in another catalogue, related to its movie so that it can be prefetched. Nothing is migrated for it."""

    scheme = models.CharField(max_length=12)
    value = models.CharField(max_length=200)
    movie = models.ForeignKey(Movie, on_delete=models.DO_NOTHING, related_name="external_ids", db_constraint=False)

    class Meta:
        app_label = "baseline"
        db_table = "external_id"
        managed = False

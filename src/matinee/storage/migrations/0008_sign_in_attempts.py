"""Failed sign-ins, by account and address: one row each, shared by all servers."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Suits the code before it, which does not know of the table."""

    dependencies = (("catalogue", "0007_key_quota"),)
    operations = (
        migrations.CreateModel(
            name="SignInAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("pair", "account and address"), ("account", "account"), ("address", "address")], max_length=8
                    ),
                ),
                ("account", models.CharField(max_length=150)),
                ("address", models.CharField(max_length=64)),
                ("failures", models.IntegerField(default=0)),
                ("last_at", models.DateTimeField(db_index=True)),
                ("blocked_until", models.DateTimeField(db_index=True, null=True)),
                ("succeeded_at", models.DateTimeField(null=True)),
            ],
            options={"db_table": "sign_in_attempt"},
        ),
    )

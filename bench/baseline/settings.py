"""The baseline's Django settings: those of Matinee's catalogue, without what an API does not need.

Read by Django by name. With BENCH_REDIS_URL it is the application that keeps its answers in Redis. No admin, no sessions, no
middleware, no authentication, no throttle, no browsable pages: less than most applications have, and so in the baseline's
favour.
"""

from __future__ import annotations

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from matinee import config as matinee_config

_config = matinee_config.load()

SECRET_KEY = "the baseline signs nothing"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "bench.baseline.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Matinee's models point at the user model, so the two apps of it must be there.
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "matinee.storage.apps.StorageConfig",
    "bench.baseline.apps.BaselineConfig",
]
MIDDLEWARE: list[str] = []
_POSTGRES: dict[str, Any] = {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": None,
    "OPTIONS": {**conninfo_to_dict(_config.database_url)} if _config.on_postgres else {},
}
_POSTGRES["NAME"] = _POSTGRES["OPTIONS"].pop("dbname", "")
DATABASES = {
    "default": _POSTGRES
    if _config.on_postgres
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"file:{_config.database_path}?mode=ro",
        "CONN_MAX_AGE": None,  # one connection for as long as the process lives
        "OPTIONS": {
            "uri": True,
            "init_command": "PRAGMA query_only=ON; PRAGMA cache_size=-65536; PRAGMA mmap_size=268435456;",
        },
    }
}
_redis_url = os.environ.get("BENCH_REDIS_URL")
if _redis_url:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _redis_url}}
LOGGING_CONFIG = None
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}

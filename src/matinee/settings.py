"""Django's settings, derived from Config. Django reads this module by name when runtime sets it up; nobody else imports it.

Django serves the admin and owns models and migrations. It talks to the leader only.
"""

from __future__ import annotations

from typing import Any

from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict

from matinee import addresses
from matinee import config as matinee_config
from matinee.storage.postgres_session import parameters
from matinee.storage.sqlite_session import WRITER

_config = matinee_config.load()

# What ends on PostgreSQL's side with WRITE_TIMEOUT_S: of the whole session, or of each transaction behind PgBouncer.
WRITE_LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def _postgresql(config: matinee_config.Config) -> dict[str, Any]:
    """Return Django's settings of the leader from its URL."""
    stated = conninfo_to_dict(config.database_url)
    stated.setdefault("application_name", "matinee-writer")
    stated.setdefault("connect_timeout", 2)
    database: dict[str, Any] = {
        "ENGINE": "matinee.storage.leader_backend",
        "NAME": stated.pop("dbname", None) or stated.get("user") or "matinee",
        "USER": stated.pop("user", ""),
        "PASSWORD": stated.pop("password", ""),
        "HOST": stated.pop("host", ""),
        "PORT": str(stated.pop("port", "")),
        "CONN_MAX_AGE": None,
        "OPTIONS": {**stated, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 5_000},
    }
    limits = dict.fromkeys(WRITE_LIMITS, config.write_timeout_ms)
    database["OPTIONS"] |= parameters(config.database_url, limits, pgbouncer=config.pgbouncer)
    # Each BEGIN says it, so no default of a server matters, behind PgBouncer either.
    database["OPTIONS"]["isolation_level"] = IsolationLevel.READ_COMMITTED
    return database | ({"DISABLE_SERVER_SIDE_CURSORS": True} if config.pgbouncer else {})


SECRET_KEY = _config.secret_key or "not-a-secret: no session can be signed before `matinee up` or SECRET_KEY made one"
DEBUG = False
# Who listens on all addresses without naming hosts is tried from another machine; in production names are demanded.
ALLOWED_HOSTS = ["*"] if _config.open_to_all_hosts else [*_config.allowed_hosts, addresses.in_url(_config.host)]
CSRF_TRUSTED_ORIGINS = [_config.public_origin] if _config.public_url else []
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "matinee.http.admin.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "matinee.storage.apps.StorageConfig",
    "matinee.http.admin.apps.AdminPagesConfig",
]
MIDDLEWARE = [
    "matinee.http.admin.page_headers.PageHeaders",
    "matinee.http.admin.unavailable.SayUnavailable",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "matinee.http.admin.session_age.SessionAge",
    "django.contrib.messages.middleware.MessageMiddleware",
    "matinee.http.admin.one_time_password.ChangeOneTimePassword",
    "matinee.http.admin.refusals.TellRefusal",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
_SQLITE = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": None if _config.on_postgres else _config.database_path,
        "OPTIONS": {
            # A transaction takes the one write lock when it begins: taking it later, after a read, could only fail.
            "transaction_mode": "IMMEDIATE",
            "timeout": _config.busy_timeout_ms / 1000,
            "init_command": WRITER,
        },
    }
}
DATABASES = {"default": _postgresql(_config)} if _config.on_postgres else _SQLITE
WRITE_TIMEOUT_S = _config.write_timeout_ms / 1000
BEHIND_PGBOUNCER = _config.pgbouncer
PASSWORD_HASHERS = ["matinee.write.password_hashing.LowPriorityHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "matinee.http.admin.password_rules.HardToGuess"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "matinee.http.admin.password_rules.Different"},
]
# Django puts this path before all addresses that it makes, and takes it off those of requests.
FORCE_SCRIPT_NAME = _config.public_path or None
STATIC_URL = f"{_config.public_path}/static/"
LOGIN_REDIRECT_URL = f"{_config.public_path}/admin/"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = _config.public_path or "/"
SESSION_COOKIE_NAME = "matinee_session"
CSRF_COOKIE_NAME = "matinee_csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _config.production
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # Strict would ask those who follow a link in a mail to sign in again
SESSION_COOKIE_AGE = 7 * 24 * 3600  # a week: http/admin/session_age.py ends a session then, however much it is used
SESSION_IDLE_S = 12 * 3600  # over night: the same day's work needs no second sign-in
CSRF_FAILURE_VIEW = "matinee.http.admin.refusals.csrf_failure"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _config.production else None
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000  # a movie of 1,000 credits is a form of 7,000 fields
LOGGING_CONFIG = None
UNFOLD = {
    "SITE_TITLE": "Matinee",
    "SITE_HEADER": "Matinee",
    "SITE_SUBHEADER": "Movie catalogue",
    "SITE_URL": f"{_config.public_path}/docs",
    "SITE_SYMBOL": "movie",
    "SHOW_HISTORY": True,
    "SIDEBAR": {"navigation": "matinee.http.admin.site.navigation"},
}

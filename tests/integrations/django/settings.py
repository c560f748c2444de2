"""The settings of the test project; what needs others runs in a process of its own."""

from __future__ import annotations

from typing import Any

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.integrations.django.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "wellwired.integrations.django",
    "tests.integrations.django.shelf",
]
MIDDLEWARE = [
    "tests.integrations.django.shelf.middleware.outer",
    "wellwired.integrations.django.middleware.request_scope",
    "tests.integrations.django.shelf.middleware.inner",
]
DATABASES: dict[str, Any] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
WELLWIRED = {"CONTAINER": "tests.integrations.django.containers.DjangoShop"}
LOGGING_CONFIG = None

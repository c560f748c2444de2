"""Django's settings, from the environment; what is wellwired's own is read by the container (see `.env.example`)."""

from __future__ import annotations

import os
import secrets

from shop.database import database

DEBUG = os.environ.get("SHOP_DEBUG") == "1"
# Nothing that is signed with it has to outlive the process in this shop; one that has logins sets it.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = os.environ.get("SHOP_HOSTS", "localhost,127.0.0.1,testserver").split(",")

ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = ["wellwired.integrations.django", "shop"]
MIDDLEWARE = [
    "wellwired.integrations.django.middleware.request_scope",
    "django.middleware.common.CommonMiddleware",
    "shop.errors.told",
]
WELLWIRED = {"CONTAINER": "shop.containers.Shop"}

DATABASES = {"default": database(os.environ.get("SHOP_DATABASE_URL", "sqlite:///shop.db"))}
CACHES = {
    "default": {
        "BACKEND": "wellwired.integrations.django.cache.StoreCache",
        "LOCATION": "stores.pages",
        "TIMEOUT": 5,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
# The container configures the log.
LOGGING_CONFIG = None

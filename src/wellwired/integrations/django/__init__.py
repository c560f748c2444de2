"""Django: the project's container, started at its first use, with a scope for each request.

::

    INSTALLED_APPS = [..., "wellwired.integrations.django"]
    MIDDLEWARE = ["wellwired.integrations.django.middleware.request_scope", ...]
    WELLWIRED = {"CONTAINER": "shop.containers.Shop"}

    @inject
    def order(request: HttpRequest, writes: WriteManager = Provide["write_manager"]): ...

Modules of the installed apps, and those beside the URLconf and the container, are wired without being listed: at the
first request, or when one of their functions is called first. ``MODULES`` and ``PACKAGES`` of the setting name others.
Nothing connects while Django is set up, so that a command may run without a database, and gunicorn may fork.

``manage.py check`` reports every fault of the setting, the environment and the markers; ``manage.py wellwired check``,
and ``health``, ``graph``, ``load``, ``replay`` and ``purge``, are the `wellwired` command about the container.
"""

from __future__ import annotations

from wellwired.errors import MissingExtraError

try:
    import django  # noqa: F401 - only looked for; its own modules wait until they are needed
except ModuleNotFoundError:
    raise MissingExtraError("Django", extra="django", purpose="wellwired.integrations.django") from None

from wellwired.integrations.django._project import container

__all__ = ["container"]

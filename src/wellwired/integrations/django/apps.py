"""The Django app: what it registers when Django is set up. It reads no setting then, and connects to nothing."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import got_request_exception
from django.test.signals import setting_changed

__all__ = ["WellwiredConfig"]


class WellwiredConfig(AppConfig):
    """``"wellwired.integrations.django"`` in ``INSTALLED_APPS``."""

    name = "wellwired.integrations.django"
    label = "wellwired"
    verbose_name = "wellwired"

    def ready(self) -> None:
        """Registers checks and receivers, and whoever wires the project's modules; again does nothing."""
        from wellwired.integrations.django import _project
        from wellwired.integrations.django._cache_checks import check_caches, check_signatures
        from wellwired.integrations.django.checks import check_container, check_middleware
        from wellwired.integrations.django.middleware import note_failure

        _project.prepare()
        checks.register(check_container, self.label)
        checks.register(check_middleware, self.label)
        checks.register(check_caches, self.label, checks.Tags.caches)
        checks.register(check_signatures, self.label, checks.Tags.caches, checks.Tags.security, deploy=True)
        setting_changed.connect(_project.changed, dispatch_uid="wellwired.setting_changed")
        got_request_exception.connect(note_failure, dispatch_uid="wellwired.got_request_exception")

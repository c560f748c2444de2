"""Typed settings from the environment, and errors that name the variable."""

from wellwired.settings._settings import Settings
from wellwired.settings.backends import RedisSettings, SQLSettings
from wellwired.settings.guards import BreakerSettings, BudgetSettings, DeadLetterSettings, GroupCommitSettings
from wellwired.settings.models import (
    LayerSettings,
    LoadSettings,
    LogSettings,
    MetricsSettings,
    StoreSettings,
    WriteSettings,
)
from wellwired.settings.tls import TLSSettings
from wellwired.settings.view import ShownSetting, masked

__all__ = [
    "BreakerSettings",
    "BudgetSettings",
    "DeadLetterSettings",
    "GroupCommitSettings",
    "LayerSettings",
    "LoadSettings",
    "LogSettings",
    "MetricsSettings",
    "RedisSettings",
    "SQLSettings",
    "Settings",
    "ShownSetting",
    "StoreSettings",
    "TLSSettings",
    "WriteSettings",
    "masked",
]

"""What is measured beyond requests, switched by the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.signals import setting_changed

from gunicorn_prometheus_django import cache, conf, database, objects, schema


def follow_settings() -> None:
    """Switch everything as the settings say, now and when a test overrides them."""
    apply(conf.read())
    setting_changed.connect(_on_setting, dispatch_uid=__name__)


def apply(config: conf.Configuration) -> None:
    """Switch everything as `config` says; raise SettingsError where that cannot be done."""
    _switch(config.database, database.enable, database.disable)
    _switch(config.cache, cache.enable, cache.disable)
    _switch(bool(config.models), lambda: objects.enable(config.models), objects.disable)
    _switch(config.migrations, schema.enable, schema.disable)


def _switch(wanted: bool, enable: Callable[[], None], disable: Callable[[], None]) -> None:
    if wanted:
        enable()
    else:
        disable()


def _on_setting(setting: str, **signal: Any) -> None:
    if setting == conf.SETTING:
        apply(conf.read())

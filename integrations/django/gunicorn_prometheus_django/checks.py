"""System checks: what `manage.py check` says of a configuration that cannot work as meant."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from gunicorn_prometheus_django import conf
from gunicorn_prometheus_exporter.errors import SettingsError

MIDDLEWARE = "gunicorn_prometheus_django.middleware.PrometheusMiddleware"


def check_settings(**options: Any) -> list[CheckMessage]:
    """Find unknown keys and values that cannot be used."""
    try:
        conf.read()
    except SettingsError as error:
        return [Error(str(error), id="gunicorn_prometheus.E001")]
    return []


def check_middleware(**options: Any) -> list[CheckMessage]:
    """Find a middleware that is missing, listed twice or not the first."""
    middleware = list(settings.MIDDLEWARE or ())
    if MIDDLEWARE not in middleware:
        return [
            Warning(
                "The middleware is missing: requests are counted under guessed endpoints.",
                hint=f"Put {MIDDLEWARE!r} first in MIDDLEWARE.",
                id="gunicorn_prometheus.W001",
            )
        ]
    messages: list[CheckMessage] = []
    if middleware[0] != MIDDLEWARE:
        messages.append(
            Warning(
                "The middleware is not the first: what the ones before it answer has no endpoint.",
                hint=f"Put {MIDDLEWARE!r} first in MIDDLEWARE.",
                id="gunicorn_prometheus.W002",
            )
        )
    if middleware.count(MIDDLEWARE) > 1:
        messages.append(
            Warning(
                "The middleware is listed more than once; requests are counted once all the same.",
                hint=f"Keep only the first {MIDDLEWARE!r}.",
                id="gunicorn_prometheus.W003",
            )
        )
    return messages

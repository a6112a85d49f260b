"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from gunicorn_prometheus_django.checks import check_middleware, check_settings


class PrometheusConfig(AppConfig):  # type: ignore[misc]
    """Registers the system checks and switches on what the settings ask for."""

    name = "gunicorn_prometheus_django"
    label = "gunicorn_prometheus"
    verbose_name = "Prometheus metrics"

    def ready(self) -> None:
        """Prepare everything that Django asks an application to prepare here."""
        checks.register(check_settings)
        checks.register(check_middleware)
        if not check_settings():
            # Imported here: it needs the models of the other applications.
            from gunicorn_prometheus_django.features import follow_settings

            follow_settings()

"""Prometheus metrics of a Django project, labelled by its URL patterns.

    INSTALLED_APPS = ["gunicorn_prometheus_django", ...]
    MIDDLEWARE = ["gunicorn_prometheus_django.middleware.PrometheusMiddleware", ...]

The middleware comes first, so that it sees what every other one answers. All settings stand in one
dictionary, `GUNICORN_PROMETHEUS`; see `gunicorn_prometheus_django.conf`.
"""

from __future__ import annotations

from gunicorn_prometheus_django.marker import exclude

__all__ = ["exclude"]

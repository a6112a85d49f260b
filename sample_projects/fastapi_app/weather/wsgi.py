"""The same application for gunicorn's WSGI workers."""

from __future__ import annotations

from gunicorn_prometheus_asgi import AsgiToWsgi
from weather.app import app as asgi_app

app = AsgiToWsgi(asgi_app)

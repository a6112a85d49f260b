"""Prometheus metrics of a Flask application, by endpoint.

    from gunicorn_prometheus_flask import PrometheusExporter

    exporter = PrometheusExporter()

    def create_app():
        app = Flask(__name__)
        exporter.init_app(app)
        return app

Under a worker class of gunicorn-prometheus-exporter the extension only tells the worker which URL
rule answered; anywhere else (`flask run`, a test client) it measures each request itself.
"""

from __future__ import annotations

from gunicorn_prometheus_flask.extension import PrometheusExporter
from gunicorn_prometheus_flask.marker import exclude

__all__ = ["PrometheusExporter", "exclude"]

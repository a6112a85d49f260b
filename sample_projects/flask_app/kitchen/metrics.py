"""What this application counts."""

from __future__ import annotations

from flask import Request
from prometheus_client import Counter

from gunicorn_prometheus_flask import PrometheusExporter

exporter = PrometheusExporter()

servings_cooked = Counter("kitchen_servings", "Servings that were cooked.", ["recipe"])
"""An ordinary prometheus_client metric; the exporter shows it on the same port."""


def diet(request: Request) -> str:
    """Return the extra label of requests: one of two values, whatever clients send."""
    return "vegan" if request.args.get("diet") == "vegan" else "any"

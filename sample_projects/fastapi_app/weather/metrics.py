"""What this application counts."""

from __future__ import annotations

from prometheus_client import Counter
from starlette.requests import Request

subscriptions = Counter("weather_subscriptions", "Subscriptions to forecasts.")
"""An ordinary prometheus_client metric; the exporter shows it on the same port."""


def unit(request: Request) -> str:
    """Return the extra label of requests: one of two values, whatever clients send."""
    return "imperial" if request.query_params.get("unit") == "imperial" else "metric"

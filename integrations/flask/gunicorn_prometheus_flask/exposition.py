"""The view that shows the metrics inside the application."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, abort, request

from gunicorn_prometheus_exporter.adapter import AdapterSettings
from gunicorn_prometheus_exporter.inprocess import expose
from gunicorn_prometheus_flask.marker import exclude


def metrics_view(settings: AdapterSettings) -> Callable[[], Response]:
    """Return the view for `metrics_path`, which asks `metrics_auth` and is not counted itself."""

    @exclude
    def metrics() -> Response:
        if settings.metrics_auth is not None and not settings.metrics_auth(request):
            abort(403)
        content_type, body = expose(
            request.headers.get("Accept", ""), request.args.getlist("name[]")
        )
        return Response(body, content_type=content_type)

    return metrics

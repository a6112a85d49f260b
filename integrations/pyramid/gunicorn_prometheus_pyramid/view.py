"""The optional view of the metrics inside the application."""

from __future__ import annotations

from typing import Any

from pyramid.httpexceptions import HTTPForbidden
from pyramid.response import Response

from gunicorn_prometheus_exporter.inprocess import expose
from gunicorn_prometheus_pyramid.marker import exclude

METRICS_ROUTE = "gunicorn_prometheus_metrics"


@exclude
def metrics_view(request: Any) -> Response:
    """Answer with all metrics, of all workers where a worker of ours runs the application."""
    auth = request.registry.gunicorn_prometheus.settings.metrics_auth
    if auth is not None and not auth(request):
        return HTTPForbidden()
    content_type, body = expose(request.headers.get("Accept", ""), request.GET.getall("name[]"))
    return Response(body, headerlist=[("Content-Type", content_type), ("Vary", "Accept")])

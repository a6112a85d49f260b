"""The optional view of the metrics inside the project.

    urlpatterns = [path("metrics", gunicorn_prometheus_django.views.metrics)]

Or leave the URLs alone and set METRICS_PATH: the middleware answers then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden

from gunicorn_prometheus_django import conf
from gunicorn_prometheus_django.marker import exclude
from gunicorn_prometheus_exporter.inprocess import expose


@exclude
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all metrics, of all workers where a worker of ours runs the project."""
    return answer_metrics(request, conf.current().adapter.metrics_auth)


def answer_metrics(request: HttpRequest, auth: Callable[[Any], bool] | None) -> HttpResponse:
    """Return the metrics in the format that `request` accepts, or a 403 where `auth` says no."""
    if auth is not None and not auth(request):
        return HttpResponseForbidden("Forbidden\n", content_type="text/plain; charset=utf-8")
    content_type, body = expose(request.headers.get("Accept", ""), request.GET.getlist("name[]"))
    return HttpResponse(body, content_type=content_type, headers={"Vary": "Accept"})

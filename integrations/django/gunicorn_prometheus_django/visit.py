"""One request on its way through the middleware."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gunicorn_prometheus_django import conf, routes
from gunicorn_prometheus_django.marker import is_excluded
from gunicorn_prometheus_django.measurement import LocalMeasurement
from gunicorn_prometheus_django.requests import environ_of
from gunicorn_prometheus_django.views import answer_metrics
from gunicorn_prometheus_exporter.recorder import under_worker
from gunicorn_prometheus_exporter.route import route_of


class Visit:
    """Names one request; measures it too where neither a worker nor another adapter does."""

    __slots__ = ("_config", "_environ", "_local", "_request")

    def __init__(self, request: HttpRequest) -> None:
        """Begin: everything of ours that is asked of `request` later is asked of this."""
        self._request = request
        self._environ = environ_of(request)
        self._config = conf.current()
        route = route_of(self._environ)
        measured_elsewhere = route.measured or under_worker()
        self._local = None if measured_elsewhere else LocalMeasurement(request, route)

    @property
    def is_scrape(self) -> bool:
        """Whether the metrics are what is asked for."""
        path = self._config.adapter.metrics_path
        return bool(path) and self._request.path_info == path

    def answer_metrics(self) -> HttpResponseBase:
        """Return the metrics, or a 403."""
        return answer_metrics(self._request, self._config.adapter.metrics_auth)

    def leave(self, response: HttpResponseBase) -> HttpResponseBase:
        """Name the request now that `response` is made, and return the response."""
        self._label(response)
        if self._local is not None:
            self._local.leave(response)
        return response

    def fail(self, error: BaseException) -> None:
        """Name the request that ends in `error` instead of a response."""
        self._label(None)
        if self._local is not None:
            self._local.fail(error)

    def _label(self, response: HttpResponseBase | None) -> None:
        request, marked = self._request, self.is_scrape

        def resolve() -> str | None:
            nonlocal marked
            match = routes.match_of(request, response)
            if match is None:
                return None
            marked = marked or is_excluded(match.func)
            return routes.template_of(match)

        route = self._config.labeller.label(
            self._environ,
            request,
            resolve,
            path=request.path_info,
            prefix=request.META.get("SCRIPT_NAME", ""),
        )
        route.excluded = route.excluded or marked

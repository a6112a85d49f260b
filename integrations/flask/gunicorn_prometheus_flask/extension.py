"""The Flask extension: names the requests of an application for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import (
    Flask,
    Request,
    got_request_exception,
    request,
    request_finished,
    request_tearing_down,
)
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from gunicorn_prometheus_exporter.adapter import AdapterSettings, Labeller
from gunicorn_prometheus_exporter.errors import SettingsError
from gunicorn_prometheus_exporter.route import route_of
from gunicorn_prometheus_flask import routing
from gunicorn_prometheus_flask.exposition import metrics_view
from gunicorn_prometheus_flask.marker import exclude, is_excluded
from gunicorn_prometheus_flask.measuring import MeasuredApplication

EXTENSION = "gunicorn_prometheus"
"""The key of `app.extensions` under which our state of an application stands."""

CONFIG_PREFIX = "GUNICORN_PROMETHEUS_"
"""What the settings in `app.config` start with."""

_LABELLED = "gunicorn_prometheus_flask.labelled"


class PrometheusExporter:
    """Names each request of the applications it is given; keeps none of them.

    Settings are read from `app.config` when an application is given: `GUNICORN_PROMETHEUS_EXCLUDE`,
    `_LABELS`, `_BUCKETS`, `_GROUP_STATUS`, `_INCLUDE_PREFIX`, `_METRICS_PATH`, `_METRICS_AUTH`;
    see `gunicorn_prometheus_exporter.adapter.AdapterSettings`.
    """

    def __init__(self, app: Flask | None = None, *, prefix: str = "") -> None:
        """Register with `app` where one is given; see `init_app()`."""
        if app is not None:
            self.init_app(app, prefix=prefix)
        elif prefix:
            raise SettingsError("prefix belongs to one application: pass it to init_app().")

    def init_app(self, app: Flask, *, prefix: str = "") -> None:
        """Name and, where no worker of ours does, measure the requests of `app`.

        prefix: the path that a dispatcher in the same process mounts `app` under; it is put before
            each endpoint.

        Raises SettingsError for a setting that cannot be used, and if `app` is registered already.
        """
        if EXTENSION in app.extensions:
            raise SettingsError(
                f"PrometheusExporter is registered with the application {app.name!r} already:"
                " call init_app() once for each application."
            )
        settings = _settings(app)
        app.extensions[EXTENSION] = _Naming(settings, prefix).connect(app)
        app.wsgi_app = MeasuredApplication(app.wsgi_app)  # type: ignore[method-assign]
        if settings.metrics_path:
            view = metrics_view(settings)
            app.add_url_rule(settings.metrics_path, "gunicorn_prometheus.metrics", view)

    exclude = staticmethod(exclude)


def _settings(app: Flask) -> AdapterSettings:
    try:
        return AdapterSettings.from_mapping(app.config.get_namespace(CONFIG_PREFIX))
    except SettingsError as error:
        raise SettingsError(f"app.config, {CONFIG_PREFIX}*: {error}") from None


class _Naming:
    """Fills in the `Route` of each request of one application while its context lives."""

    def __init__(self, settings: AdapterSettings, prefix: str) -> None:
        self._labeller = Labeller(settings)
        self._prefix = prefix.rstrip("/")

    def connect(self, app: Flask) -> _Naming:
        """Follow the requests of `app`. Signals hold us weakly: `app.extensions` keeps us."""
        got_request_exception.connect(self._on_exception, app)
        request_finished.connect(self._on_end, app)
        # Where no response was made, such as for an exception that testing lets through.
        request_tearing_down.connect(self._on_end, app)
        # No signal tells of exceptions that an errorhandler answers.
        app.handle_user_exception = _noting(app.handle_user_exception)  # type: ignore[method-assign]
        return self

    def _on_exception(self, sender: Flask, exception: BaseException, **_: Any) -> None:
        route_of(request.environ).exception = exception

    def _on_end(self, sender: Flask, **_: Any) -> None:
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        if current.environ.get(_LABELLED) is not self:
            current.environ[_LABELLED] = self
            self._label(sender, current)

    def _label(self, app: Flask, current: Request) -> None:
        found: list[Rule] = []

        def resolve() -> str | None:
            rule = routing.rule_of(app, current)
            if rule is None:
                return None
            found.append(rule)
            return self._prefix + rule.rule

        route = self._labeller.label(
            current.environ,
            current,
            resolve,
            path=current.path,
            prefix=current.script_root.removesuffix(self._prefix),
        )
        if found and is_excluded(app.view_functions.get(found[0].endpoint)):
            route.excluded = True


def _noting(handle: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `Flask.handle_user_exception()` so that the route of the request tells what it got."""

    def handle_user_exception(*arguments: Any) -> Any:
        exception = arguments[-1]
        if not isinstance(exception, HTTPException):
            route_of(request.environ).exception = exception
        return handle(*arguments)

    return handle_user_exception

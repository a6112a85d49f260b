"""Prometheus metrics of a Pyramid application, labelled by its routes and its resource tree."""

from __future__ import annotations

from pyramid.config import Configurator

from gunicorn_prometheus_pyramid.marker import exclude
from gunicorn_prometheus_pyramid.tween import tween_factory

__all__ = ["exclude", "includeme", "tween_factory"]


def includeme(config: Configurator) -> None:
    """Measure the requests of this application.

    Say `config.include("gunicorn_prometheus_pyramid")`, or in the .ini file:

        pyramid.includes = gunicorn_prometheus_pyramid

    Under a worker of ours each request is counted under its route pattern (`/users/{id}`), or as
    `traversal:<ContextClass>/<view name>` where the resource tree was traversed. Under any other
    server, and in tests, the metrics are kept in the process. These settings exist:

    gunicorn_prometheus.exclude: paths or patterns to leave out, separated by white space;
        `*` matches anything.
    gunicorn_prometheus.labels.<name>: a callable on the request, or the dotted name of one: what it
        returns is the value of the extra label `<name>`.
    gunicorn_prometheus.buckets: bounds of the request durations in seconds: `0.1,0.5,1`.
    gunicorn_prometheus.group_status: `true` to label statuses as `2xx` instead of `200`.
    gunicorn_prometheus.include_prefix: `true` to put SCRIPT_NAME before each endpoint.
    gunicorn_prometheus.metrics_path: serve the metrics inside the application at this path,
        as the route `gunicorn_prometheus_metrics`.
    gunicorn_prometheus.metrics_auth: a callable on the request, or the dotted name of one:
        a false answer is a 403.

    The decorator `exclude` leaves a single view out.

    The work is done by a tween, the outermost one. A `pyramid.tweens` setting names all tweens
    there are: it has to name `gunicorn_prometheus_pyramid.tween_factory` first. Where it does not,
    a warning is logged when the application is made.
    """
    config.include("gunicorn_prometheus_pyramid.configuration")

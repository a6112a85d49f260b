"""The application: routes for the visit, a resource tree for the collection."""

from pathlib import Path
from typing import Any

from pyramid.config import Configurator
from pyramid.router import Router

from museum.resources import root_factory

SETTINGS = {
    "gunicorn_prometheus.labels.language": "museum.metrics.language",
    "gunicorn_prometheus.exclude": "/static/*",
}


def main(global_config: dict[str, str], **settings: Any) -> Router:
    """Return the WSGI application, as PasteDeploy and gunicorn call it."""
    config = Configurator(settings={**SETTINGS, **settings}, root_factory=root_factory)
    config.include("gunicorn_prometheus_pyramid")
    config.add_static_view("static", str(Path(__file__).parent / "static"))
    config.add_route("healthz", "/healthz")
    config.add_route("ticket", r"/tickets/{day:\d{4}-\d\d-\d\d}")
    config.add_route("guide", "/guide")
    config.add_route("report", "/report/{year}")
    config.scan("museum.views")
    return config.make_wsgi_app()

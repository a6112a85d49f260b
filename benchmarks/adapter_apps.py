"""One small application for each framework: bare, with our adapter, or with its best-known peer.

Each is made in a process of its own, because frameworks and registries are global. The peers
are `pip install django-prometheus prometheus_flask_exporter pyramid_prometheus
prometheus-fastapi-instrumentator starlette_exporter`.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

Batch = Callable[[int], None]
"""Sends that many requests to an application."""

PATH = "/users/7"


def django(variant: str) -> Batch:
    """Django's WSGI handler; the peer is django-prometheus."""
    import django as framework
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    ours = ["gunicorn_prometheus_django.middleware.PrometheusMiddleware"]
    peer = [f"django_prometheus.middleware.Prometheus{each}Middleware" for each in _BOTH_ENDS]
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=(path("users/<int:pk>", lambda request, pk: HttpResponse("hello")),),
        INSTALLED_APPS=["django_prometheus"] if variant == "peer" else [],
        MIDDLEWARE={"bare": [], "ours": ours, "peer": peer}[variant],
        LOGGING_CONFIG=None,
    )
    framework.setup()
    from django.core.wsgi import get_wsgi_application

    return wsgi_batch(get_wsgi_application())


_BOTH_ENDS = ("Before", "After")


def flask(variant: str) -> Batch:
    """Flask; the peer is prometheus_flask_exporter."""
    from flask import Flask

    app = Flask(__name__)
    app.add_url_rule("/users/<int:pk>", view_func=lambda pk: "hello", endpoint="user")
    if variant == "ours":
        from gunicorn_prometheus_flask import PrometheusExporter

        PrometheusExporter(app)
    elif variant == "peer":
        from prometheus_flask_exporter import PrometheusMetrics

        PrometheusMetrics(app, group_by="url_rule")
    return wsgi_batch(app)


def pyramid(variant: str) -> Batch:
    """Pyramid; the peer is pyramid_prometheus."""
    from pyramid.config import Configurator
    from pyramid.response import Response

    config = Configurator(settings={"prometheus.metrics_path_info": "/metrics"})
    if variant != "bare":
        config.include("gunicorn_prometheus_pyramid" if variant == "ours" else "pyramid_prometheus")
    config.add_route("user", "/users/{pk}")
    config.add_view(lambda request: Response("hello"), route_name="user")
    return wsgi_batch(config.make_wsgi_app())


def fastapi(variant: str) -> Batch:
    """FastAPI; the peer is prometheus-fastapi-instrumentator."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI()

    @app.get("/users/{pk}")
    async def user(pk: int) -> PlainTextResponse:
        return PlainTextResponse("hello")

    if variant == "ours":
        from gunicorn_prometheus_asgi import PrometheusMiddleware

        app.add_middleware(PrometheusMiddleware)
    elif variant == "peer":
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app)
    return asgi_batch(app)


def starlette(variant: str) -> Batch:
    """Starlette; the peer is starlette_exporter."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def user(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/users/{pk:int}", user)])
    if variant == "ours":
        from gunicorn_prometheus_asgi import PrometheusMiddleware

        app.add_middleware(PrometheusMiddleware)
    elif variant == "peer":
        from starlette_exporter import PrometheusMiddleware as Peer

        app.add_middleware(Peer, group_paths=True)
    return asgi_batch(app)


def pretend_worker() -> None:
    """Make this process one that a worker of ours serves: adapters only name requests then."""
    from gunicorn_prometheus_exporter.recorder import local_recorder, serve_with

    serve_with(local_recorder())


def wsgi_batch(app: Any) -> Batch:
    """Return what calls a WSGI application as a server does."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        assert status == "200 OK", status

    def batch(count: int) -> None:
        for _ in range(count):
            body = app(dict(environ), start_response)
            for _chunk in body:
                pass
            if hasattr(body, "close"):
                body.close()

    return batch


def asgi_batch(app: Any) -> Batch:
    """Return what calls an ASGI application as a server does."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 80),
    }
    loop = asyncio.new_event_loop()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200, message

    async def requests(count: int) -> None:
        for _ in range(count):
            await app(dict(scope), receive, send)

    return lambda count: loop.run_until_complete(requests(count))

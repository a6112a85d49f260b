"""Prometheus metrics of Starlette and FastAPI applications, and bridges between WSGI and ASGI.

    from gunicorn_prometheus_asgi import PrometheusMiddleware

    app = FastAPI()
    app.add_middleware(PrometheusMiddleware)

Under a worker class of gunicorn-prometheus-exporter the middleware only tells the worker which
route answered; anywhere else (uvicorn alone, a test client) it measures each request itself.

`AsgiToWsgi(app)` runs an ASGI application under the WSGI workers (sync, thread, gevent, eventlet),
`WsgiToAsgi(app)` a WSGI application under the ASGI workers. Both need a2wsgi, which the extra
`gunicorn-prometheus-exporter[fastapi]` installs.
"""

from __future__ import annotations

from gunicorn_prometheus_asgi.asgi_to_wsgi import AsgiToWsgi
from gunicorn_prometheus_asgi.lifespan import LifespanError
from gunicorn_prometheus_asgi.marker import exclude
from gunicorn_prometheus_asgi.middleware import PrometheusMiddleware
from gunicorn_prometheus_asgi.wsgi_to_asgi import WsgiToAsgi

__all__ = ["AsgiToWsgi", "LifespanError", "PrometheusMiddleware", "WsgiToAsgi", "exclude"]

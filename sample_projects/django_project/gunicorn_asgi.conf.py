"""gunicorn -c gunicorn_asgi.conf.py: the project through ASGI, metrics on port 9091.

Before gunicorn 24: `pip install uvicorn-worker`, and PrometheusUvicornWorker.
"""

import os

chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "library.asgi:application"
worker_class = "gunicorn_prometheus_exporter.PrometheusASGIWorker"
workers = 2

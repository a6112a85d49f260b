"""gunicorn -c gunicorn.conf.py: the museum, metrics on port 9091."""

import os

chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "museum:main({})"
worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
workers = 2

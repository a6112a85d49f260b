"""gunicorn -c gunicorn_wsgi.conf.py: the project through WSGI, metrics on port 9091."""

import os

chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "library.wsgi:application"
worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
workers = 2

"""The weather under gunicorn's own ASGI worker, with metrics on port 9091.

gunicorn -c gunicorn_asgi.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusASGIWorker"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "weather.app:app"

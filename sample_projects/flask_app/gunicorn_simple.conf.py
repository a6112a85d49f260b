"""The kitchen under the sync worker, with metrics on port 9091.

gunicorn -c gunicorn_simple.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "kitchen:create_app()"

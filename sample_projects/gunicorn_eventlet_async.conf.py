"""The shop under the eventlet worker: for applications that are written for eventlet.

pip install "gunicorn-prometheus-exporter[eventlet]"
gunicorn -c sample_projects/gunicorn_eventlet_async.conf.py

gunicorn 26 dropped its own eventlet worker; this one works with every version from 22 on.
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusEventletWorker"
worker_connections = 1000

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "wsgi_app.shop:app"

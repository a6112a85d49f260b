"""The shop under the gevent worker: for thousands of connections that mostly wait.

pip install "gunicorn-prometheus-exporter[gevent]"
gunicorn -c sample_projects/gunicorn_gevent_async.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusGeventWorker"
worker_connections = 1000

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "wsgi_app.shop:app"

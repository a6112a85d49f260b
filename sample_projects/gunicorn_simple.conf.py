"""The shop under the sync worker: one line makes the metrics.

gunicorn -c sample_projects/gunicorn_simple.conf.py
curl http://localhost:9091/metrics
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "wsgi_app.shop:app"

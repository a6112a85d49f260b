"""The shop under the thread worker: for pages that wait for databases and other services.

gunicorn -c sample_projects/gunicorn_thread_worker.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusThreadWorker"
threads = 4

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "wsgi_app.shop:app"

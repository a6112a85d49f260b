"""The kitchen under the thread worker, with metrics on port 9091.

gunicorn -c gunicorn_thread.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusThreadWorker"
threads = 8
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "kitchen:create_app()"

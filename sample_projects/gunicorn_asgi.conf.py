"""An ASGI application under gunicorn's own ASGI worker, which came with gunicorn 24.

gunicorn -c sample_projects/gunicorn_asgi.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusASGIWorker"

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "asgi_app.clock:app"

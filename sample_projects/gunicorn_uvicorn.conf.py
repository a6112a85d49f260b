"""An ASGI application under uvicorn's worker.

pip install "gunicorn-prometheus-exporter[uvicorn]"
gunicorn -c sample_projects/gunicorn_uvicorn.conf.py
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusUvicornWorker"

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "asgi_app.clock:app"

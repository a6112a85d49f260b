"""gunicorn -c gunicorn_sync.conf.py: the weather under the sync worker, over the bridge.

Any other WSGI worker serves it too, with more than one request at a time:
gunicorn -c gunicorn_sync.conf.py -k gunicorn_prometheus_exporter.PrometheusThreadWorker
"""

import os

worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "weather.wsgi:app"


def post_worker_init(worker):
    """Start the application with the worker; without this, its first request would."""
    worker.wsgi.start()


def worker_exit(server, worker):
    """End it with the worker; without this, the end of the process would."""
    worker.wsgi.stop()

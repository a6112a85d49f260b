"""The shop with its metrics shared through Redis, by as many machines as run this.

pip install "gunicorn-prometheus-exporter[redis]"
REDIS_HOST=redis.example gunicorn -c sample_projects/gunicorn_redis_integration.conf.py

`REDIS_ENABLED=true` in the environment does the same as the hook. The settings are those of the
environment (REDIS_HOST, REDIS_PORT, REDIS_DB, REDIS_PASSWORD, ...). Any instance's /metrics shows
all instances together: scrape one. /metrics/instance shows that instance alone.
"""

import os

from gunicorn_prometheus_exporter.hooks import redis_when_ready

worker_class = "gunicorn_prometheus_exporter.PrometheusWorker"
when_ready = redis_when_ready

bind = "127.0.0.1:8000"
workers = 2
chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "wsgi_app.shop:app"

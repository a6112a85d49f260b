"""Prometheus metrics for gunicorn."""

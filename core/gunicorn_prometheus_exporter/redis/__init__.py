"""One application on many machines: each gunicorn's exporter publishes its samples to one Redis.

No worker ever talks to Redis. What is published are absolute values, so that nothing is counted
twice by a retry, and a Redis that lost its data is whole again after the next publication.
"""

"""A WSGI application with metrics of its own, of every type and in every gauge mode."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Summary

from tests.support.apps import Environ, StartResponse

GAUGE_MODES = (
    "all", "liveall", "min", "livemin", "max", "livemax",
    "sum", "livesum", "mostrecent", "livemostrecent",
)  # fmt: skip

ORDERS = Counter("shop_orders", "Orders placed", ["kind"])
LOADS = Counter("shop_loads", "How often this module was loaded")
BASKET = Histogram("shop_basket_items", "Items in a basket", buckets=(1, 5, 10))
PICKING = Summary("shop_picking_seconds", "Time spent picking")
GAUGES: dict[str, Any] = {
    mode: Gauge(f"shop_{mode}_items", f"A gauge in mode {mode}", multiprocess_mode=mode)  # type: ignore[arg-type]
    for mode in GAUGE_MODES
}

LOADS.inc()
"""Counted where the module is loaded: in each worker, or with preload once, in the master."""


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Touch every metric; `/gauge/<value>` sets all gauges. Answers with the worker's pid."""
    path = environ["PATH_INFO"]
    ORDERS.labels("book").inc()
    BASKET.observe(3)
    PICKING.observe(0.25)
    if path.startswith("/gauge/"):
        for gauge in GAUGES.values():
            gauge.set(float(path.rpartition("/")[2]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

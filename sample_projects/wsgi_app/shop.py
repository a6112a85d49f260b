"""A small shop in plain WSGI: pages, orders, failures, slow reports, and a metric of its own.

There is no word about monitoring requests here: the worker sees to that. `ORDERS` is an ordinary
prometheus_client counter, and appears beside the worker's metrics.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import Counter

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

PRODUCTS = {1: "tea pot", 2: "kettle", 3: "cup", 4: "sugar tongs"}
ORDERS = Counter("shop_orders", "Orders that customers placed.", ["product"])


class NotFound(Exception):
    """There is no such page or product."""


class PaymentError(Exception):
    """The bank has said no."""


def product(number: str) -> str:
    """Return the name of a product; raise NotFound where there is none."""
    try:
        return PRODUCTS[int(number)]
    except (KeyError, ValueError):
        raise NotFound(number) from None


def front_page(environ: Environ) -> object:
    """Welcome."""
    return {"shop": "The Tea Room", "products": len(PRODUCTS)}


def list_products(environ: Environ) -> object:
    """All products."""
    return PRODUCTS


def show_product(environ: Environ) -> object:
    """One product, by the number at the end of the path."""
    time.sleep(random.uniform(0, 0.01))
    return {"product": product(environ["PATH_INFO"].rpartition("/")[2])}


def place_order(environ: Environ) -> object:
    """Take an order (`product=1&card=valid`); a declined card is an exception that escapes."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    form = {name: values[0] for name, values in parse_qs(body).items()}
    ordered = product(form.get("product", ""))
    if form.get("card") == "declined":
        raise PaymentError("the card was declined")
    ORDERS.labels(ordered).inc()
    return {"ordered": ordered}


def yearly_report(environ: Environ) -> object:
    """A page that takes its time."""
    time.sleep(0.4)
    return {"report": "all is well"}


PAGES: dict[tuple[str, str], Callable[[Environ], object]] = {
    ("GET", "/"): front_page,
    ("GET", "/products"): list_products,
    ("GET", "/products/"): show_product,
    ("POST", "/orders"): place_order,
    ("GET", "/report"): yearly_report,
}


def find_page(environ: Environ) -> Callable[[Environ], object]:
    """Return the page that answers the request; raise NotFound where none does."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    page = PAGES.get((method, path))
    if page is None and path.startswith("/products/"):
        page = PAGES.get((method, "/products/"))
    if page is None:
        raise NotFound(path)
    return page


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a page in JSON."""
    try:
        status, content = "200 OK", find_page(environ)(environ)
    except NotFound as error:
        status, content = "404 Not Found", {"not found": str(error)}
    body = json.dumps(content).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]

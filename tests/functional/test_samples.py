"""Every gunicorn configuration in sample_projects starts, serves, and is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.redis import running_redis
from tests.support.versions import installed_version

SAMPLES = Path(__file__).parents[2] / "sample_projects"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

SHOP = ("simple", "thread_worker", "gevent_async", "eventlet_async")
CLOCK = ("asgi", "uvicorn")
REDIS = "redis_integration"


def sample(name: str, **options: Any) -> Any:
    """Run the sample configuration `name` as it is, but on free ports."""
    config = SAMPLES / f"gunicorn_{name}.conf.py"
    return running_gunicorn(None, config_file=config, **options)


def test_every_configuration_is_tested_here() -> None:
    there = {path.name for path in SAMPLES.glob("*.conf.py")}

    assert there == {f"gunicorn_{name}.conf.py" for name in (*SHOP, *CLOCK, REDIS)}


@pytest.fixture(params=SHOP)
def shop(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """The shop under each kind of worker."""
    with sample(request.param) as server:
        yield server


@pytest.fixture(params=CLOCK)
def clock(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    """The clock under each ASGI worker."""
    if request.param == "asgi" and installed_version() < (24,):
        pytest.skip("gunicorn has an ASGI worker from 24 on")
    with sample(request.param) as server:
        yield server


def order(server: Gunicorn, product: int, card: str = "valid") -> int:
    """Order a product from the shop; return the status."""
    body = f"product={product}&card={card}".encode()
    return server.get("/orders", method="POST", body=body, headers=FORM).status


def test_the_shop_is_measured_under_every_worker(shop: Gunicorn) -> None:
    statuses = [shop.get(f"/products/{number}").status for number in (1, 2, 3, 999)]
    orders = [order(shop, 1), order(shop, 1), order(shop, 2, "declined")]

    metrics = shop.wait_sum("gunicorn_requests_total", 7)
    assert statuses == [200, 200, 200, 404]
    assert orders == [200, 200, 500]
    count = metrics.sum
    assert count("gunicorn_requests_total", endpoint="/products/:id", status="200") == 3
    assert count("gunicorn_requests_total", endpoint="<unmatched>", status="404") == 1
    assert count("gunicorn_requests_total", endpoint="/orders", status="500") == 1
    assert count("gunicorn_request_exceptions_total", error_type="PaymentError") == 1
    assert count("gunicorn_worker_requests_total") == 7
    assert metrics.value("shop_orders_total", product="tea pot") == 2


def test_the_clock_is_measured_under_every_worker(clock: Gunicorn) -> None:
    statuses = [clock.get(path).status for path in ("/", "/ticks", "/broken", "/nothing")]

    metrics = clock.wait_sum("gunicorn_requests_total", 4)
    assert statuses == [200, 200, 500, 404]
    assert metrics.sum("gunicorn_request_duration_seconds_sum", endpoint="/ticks") >= 0.5
    assert metrics.sum("gunicorn_request_exceptions_total", error_type="RuntimeError") == 1


def test_two_shops_share_their_metrics_through_redis() -> None:
    with (
        running_redis() as redis,
        sample(REDIS, env={"REDIS_PORT": str(redis.port)}) as first,
        sample(REDIS, env={"REDIS_PORT": str(redis.port)}) as second,
    ):
        for server in (first, first, second):
            assert order(server, 1) == 200

        for server in (first, second):
            server.wait_sum("shop_orders_total", 3)
        assert first.metrics("/metrics/instance").sum("shop_orders_total") == 2
        assert second.metrics("/metrics/instance").sum("shop_orders_total") == 1

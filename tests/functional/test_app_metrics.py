"""The application's own prometheus_client metrics, added up over workers, on our endpoint."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.samples import Samples

APP = "tests.support.metrics_app:app"


def hit_every_worker(server: Gunicorn, path: str) -> dict[int, int]:
    """Request `path` until each worker has answered; return how often each did, by its pid."""
    answered: dict[int, int] = dict.fromkeys(server.worker_pids(), 0)
    while not all(answered.values()):
        answered[int(server.get(path).body)] += 1
    return answered


@pytest.mark.parametrize("preload", [False, True])
def test_all_types_and_all_gauge_modes_are_added_up_over_workers(preload: bool) -> None:
    with running_gunicorn(APP, workers=2, preload=preload) as server:
        first, second = server.worker_pids()
        answered = hit_every_worker(server, "/")
        # each gauge is 0 in a worker that has not set it, as in prometheus_client itself
        while int(server.get("/gauge/4").body) != first:
            answered[second] += 1
        answered[first] += 1
        requests = sum(answered.values())

        shown = server.metrics()

    workers = 1 if preload else 2
    assert shown.value("shop_loads_total") == workers
    assert shown.value("shop_orders_total", kind="book") == requests
    assert shown.value("shop_basket_items_count") == requests
    assert shown.value("shop_basket_items_sum") == 3 * requests
    assert shown.value("shop_basket_items_bucket", le="1.0") == 0
    assert shown.value("shop_basket_items_bucket", le="5.0") == requests
    assert shown.value("shop_picking_seconds_sum") == pytest.approx(0.25 * requests)
    assert shown.value("shop_livemax_items") == 4
    assert shown.value("shop_max_items") == 4
    assert {s.labels["pid"] for s in shown.series("shop_liveall_items")} >= {"0", "1"}
    assert shown.types["shop_basket_items"] == "histogram"
    assert shown.types["shop_picking_seconds"] == "summary"


def test_live_gauges_end_with_their_worker_and_counters_do_not() -> None:
    with running_gunicorn(APP, workers=1) as server:
        (killed,) = server.worker_pids()
        server.get("/gauge/9")

        os.kill(killed, signal.SIGKILL)
        server.wait_for(lambda: server.worker_pids() not in ([], [killed]), message="a successor")
        server.get("/")
        shown = server.metrics()

    assert shown.value("shop_orders_total", kind="book") == 2
    assert shown.value("shop_livesum_items") == 0
    assert shown.value("shop_sum_items") == 9
    assert shown.value("shop_max_items") == 9
    assert shown.value("shop_mostrecent_items") == 9


def test_a_stock_collector_sees_the_same_numbers_in_the_directory(tmp_path: Path) -> None:
    """An application's own /metrics view on MultiProcessCollector keeps working."""
    with running_gunicorn(APP, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) as server:
        requests = sum(hit_every_worker(server, "/").values())
        # a worker records a request when the client may have its answer already
        server.wait_for(lambda: server.metrics().sum("gunicorn_requests_total") == requests)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(tmp_path))
        stock = Samples(generate_latest(registry).decode())
        ours = server.metrics()

    names = ("shop_orders_total", "shop_basket_items_bucket", "gunicorn_requests_total")
    for name in names:
        assert ours.series(name) != []
        assert sorted(ours.series(name), key=repr) == sorted(stock.series(name), key=repr)


def test_series_of_an_application_are_capped(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        "from prometheus_client import Counter, Gauge\n"
        "SEEN = Counter('seen', 'Things seen', ['thing'])\n"
        "LEVEL = Gauge('level', 'Levels', ['thing'], multiprocess_mode='livesum')\n"
        "def app(environ, start_response):\n"
        "    thing = environ['QUERY_STRING']\n"
        "    SEEN.labels(thing).inc()\n"
        "    LEVEL.labels(thing).set(1)\n"
        "    start_response('200 OK', [('Content-Length', '0')])\n"
        "    return []\n"
    )
    env = {"GUNICORN_PROMETHEUS_MAX_SERIES": "20", "PYTHONPATH": str(tmp_path)}
    with running_gunicorn("greedy:app", workers=1, env=env) as server:
        for n in range(50):
            assert server.get(f"/?{n}").status == 200
        shown = server.metrics()

    assert len(shown.series("seen_total")) == 21
    assert shown.value("seen_total", thing="<other>") == 30
    assert shown.sum("seen_total") == 50
    assert shown.sum("level") == 20
    assert shown.value("gunicorn_exporter_series_folded_total", metric="seen") == 30
    assert shown.value("gunicorn_exporter_series_folded_total", metric="level") == 30


def test_metrics_of_a_process_forked_by_the_application_are_counted(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(
        "import os\n"
        "from prometheus_client import Counter\n"
        "DONE = Counter('jobs_done', 'Jobs')\n"
        "def app(environ, start_response):\n"
        "    DONE.inc()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        DONE.inc(10)\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    start_response('200 OK', [('Content-Length', '0')])\n"
        "    return []\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    with running_gunicorn("forking:app", workers=2, env=env) as server:
        for _ in range(10):
            assert server.get("/").status == 200
        shown = server.metrics()

    assert shown.value("jobs_done_total") == 110
    assert shown.sum("gunicorn_requests_total") == 10

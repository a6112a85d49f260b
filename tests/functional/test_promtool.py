"""What Prometheus itself makes of our endpoint, and of the rules we ship."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.gunicorn import Gunicorn, running_gunicorn
from tests.support.prometheus import promtool, running_prometheus

DEPLOY = Path(__file__).parents[2] / "deploy"


def send_one_of_each(server: Gunicorn) -> None:
    """Send a request of every kind, so that every metric of the workers has a sample."""
    for path in ("/hello", "/users/17", "/status/404", "/raise/before", "/stream", "/sendfile"):
        server.get(path)
    server.get("/echo", method="POST", body=b"x" * 5000)
    clients.send_raw(server.address, clients.MALFORMED[0])


def test_promtool_has_nothing_to_say_about_a_scrape() -> None:
    with running_gunicorn("tests.support.metrics_app:app") as application:
        application.get("/gauge/3")
        own = application.scrape().text
    with running_gunicorn() as server:
        send_one_of_each(server)
        scrape = server.scrape().text

    for text in (scrape, own):
        checked = promtool("check", "metrics", text=text)
        problems = [line for line in checked.stderr.splitlines() if not promised(line)]
        assert problems == []


def promised(problem: str) -> bool:
    """Return whether `problem` is about a name that users were promised as it is."""
    return problem.split()[0] in {
        # Gauges and counters whose names come from the requirements, whatever promtool prefers.
        "gunicorn_worker_restart_count_total",
        "gunicorn_master_worker_restart_count_total",
    }


@pytest.mark.timeout(180)
def test_a_real_prometheus_reads_the_right_numbers() -> None:
    with running_gunicorn() as server, running_prometheus(server.metrics_address) as prometheus:
        prometheus.wait_value("up", 1)
        for _ in range(30):
            server.get("/users/17")
        server.get("/raise/before")

        prometheus.wait_value('sum(gunicorn_requests_total{status="200"})', 30)
        prometheus.wait_value("sum(gunicorn_worker_requests_total)", 31)
        prometheus.wait_value('gunicorn_requests_total{endpoint="/users/:id"}', 30)
        prometheus.wait_value("sum(gunicorn_request_duration_seconds_count)", 31)
        prometheus.wait_value('sum(gunicorn_request_exceptions_total{error_type="ValueError"})', 1)
        prometheus.wait_value('count(gunicorn_worker_state{state="running"} == 1)', 2)


def test_the_rules_are_valid_and_fire_when_they_should() -> None:
    rules = promtool("check", "rules", str(DEPLOY / "prometheus" / "rules.yml"))
    cases = promtool("test", "rules", str(DEPLOY / "prometheus" / "rules_test.yml"))

    assert rules.returncode == 0, rules.stderr
    assert cases.returncode == 0, cases.stdout + cases.stderr


def test_the_dashboard_asks_only_for_metrics_that_there_are() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {word for target in targets for word in metric_names(target["expr"])}

    with running_gunicorn() as server:
        send_one_of_each(server)
        server.signal(signal.SIGKILL, server.worker_pids()[0])

        assert asked
        server.wait_for(lambda: asked <= server.metrics().names(), 10, f"all of {asked}")


def metric_names(expression: str) -> set[str]:
    """Return the names of our metrics in a PromQL expression."""
    words = "".join(c if c.isalnum() or c == "_" else " " for c in expression).split()
    return {word for word in words if word.startswith("gunicorn_")}

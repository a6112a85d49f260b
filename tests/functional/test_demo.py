"""`make demo`: what a newcomer sees first, and what is left when it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import http
from tests.support.processes import live_processes, mapped_files
from tests.support.prometheus import running_prometheus
from tests.support.samples import Samples
from tests.support.waiting import wait_until

DEMO = Path(__file__).parents[2] / "sample_projects" / "demo.py"


class Demo:
    """The running demo and what it has printed."""

    def __init__(self, seconds: str) -> None:
        """Start it, to end by itself after `seconds`, where that is not empty."""
        self.output = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            [sys.executable, str(DEMO)],
            env=os.environ | {"DEMO_SECONDS": seconds, "PYTHONUNBUFFERED": "1"},
            stdout=self.output,
            stderr=self.output,
        )

    def text(self) -> str:
        """Return everything printed so far."""
        return Path(self.output.name).read_text()

    def wait_text(self, words: str) -> None:
        """Wait until `words` have been printed."""

        def printed() -> bool:
            assert self.process.poll() is None, self.text()
            return words in self.text()

        wait_until(printed, 60, repr(words))

    def metrics_address(self) -> tuple[str, int]:
        """Return where the demo says that its metrics are."""
        host, port = re.findall(r"http://(\S+):(\d+)/metrics", self.text())[0]
        return host, int(port)

    def servers(self) -> list[int]:
        """Return the pids of the shop's processes: all that descend from the demo."""
        found: set[int] = {self.process.pid}
        grown = True
        while grown:
            more = {one.pid for one in live_processes() if one.parent in found} - found
            found |= more
            grown = bool(more)
        return sorted(found - {self.process.pid})

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self.output.close()


@pytest.fixture
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    """A running demo, which runs for `request.param` seconds, or until it is stopped."""
    running = Demo(getattr(request, "param", ""))
    with contextlib.closing(running):
        yield running


def test_it_shows_an_excerpt_and_where_to_look(demo: Demo) -> None:
    demo.wait_text("Ctrl-C ends it")

    text = demo.text()
    assert re.search(r'^gunicorn_requests_total\{.*status="200".*\} \d+', text, re.MULTILINE)
    assert re.search(r'^shop_orders_total\{product="tea pot"\} 5.0', text, re.MULTILINE)
    metrics = Samples(http.request(demo.metrics_address(), "/metrics").text)
    assert metrics.value("gunicorn_workers_target") == 2
    assert metrics.sum("gunicorn_requests_total", endpoint="/products/:id") > 0
    assert metrics.sum("gunicorn_request_exceptions_total", error_type="PaymentError") > 0
    assert metrics.sum("gunicorn_requests_total", endpoint="<unmatched>", status="404") > 0


def test_a_real_prometheus_can_scrape_it(demo: Demo) -> None:
    demo.wait_text("Ctrl-C ends it")

    with running_prometheus(demo.metrics_address()) as prometheus:
        prometheus.wait_value("up", 1)
        prometheus.wait_value("gunicorn_workers", 2)
        prometheus.wait_value("sum(rate(gunicorn_requests_total[30s])) > bool 0", 1)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_leaves_nothing_behind(demo: Demo, stop: int) -> None:
    demo.wait_text("Ctrl-C ends it")
    servers = demo.servers()
    files = {path for pid in servers for path in mapped_files(pid) if path.suffix == ".db"}
    assert len(servers) == 4, "a master, two workers and the exporter"

    demo.process.send_signal(stop)

    assert demo.process.wait(30) == 0
    assert "nothing is left behind" in demo.text()
    wait_until(lambda: not {one.pid for one in live_processes()} & set(servers), 10, "the end")
    assert not [path for path in files if path.parent.exists()]


@pytest.mark.parametrize("demo", ["0.5"], indirect=True)
def test_it_ends_by_itself_where_it_is_told_to(demo: Demo) -> None:
    assert demo.process.wait(60) == 0
    assert "Ctrl-C ends it" in demo.text()

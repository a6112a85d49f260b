"""A real Prometheus that scrapes our endpoint, and its promtool."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support import http
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_CONFIG = """\
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
  - job_name: {job}
    metrics_path: {path}
    static_configs: [{{targets: [{targets}]}}]
"""


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; skip the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return path


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool with `text` on its standard input and return how it ended."""
    command = [program("promtool"), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    port: int
    log: Path

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result vector of a PromQL expression."""
        path = "/api/v1/query?" + urlencode({"query": expression})
        answer = json.loads(http.request(("127.0.0.1", self.port), path).body)
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the one number that `expression` gives, or None for an empty result."""
        result = self.query(expression)
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def wait_value(self, expression: str, expected: float, timeout: float = 30.0) -> None:
        """Wait until `expression` gives `expected`."""
        wait_until(
            lambda: self.value(expression) == expected,
            timeout,
            f"{expression} == {expected:g}",
            interval=0.2,
        )

    def ready(self) -> bool:
        """Return whether it serves queries."""
        try:
            return http.request(("127.0.0.1", self.port), "/-/ready").status == 200
        except OSError:
            return False


@contextlib.contextmanager
def running_prometheus(
    *targets: tuple[str, int], interval: str = "1s", path: str = "/metrics", job: str = "gunicorn"
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes `targets` every `interval`."""
    binary = program("prometheus")
    folder = Path(tempfile.mkdtemp(prefix="gpe-prom-"))
    listed = ", ".join(f"'{host}:{port}'" for host, port in targets)
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(interval=interval, job=job, path=path, targets=listed))
    server = Prometheus(free_port(), folder / "log")
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{server.port}",
    ]
    with server.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(server.ready, 30, "Prometheus to be ready", interval=0.1)
        yield server
    except BaseException:
        print(server.log.read_text()[-5000:])
        raise
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)

"""CPU time of one request under our worker, against the bare worker of gunicorn.

    PYTHONPATH=. python benchmarks/bench_requests.py [--worker sync] [--rounds 25] [--seconds 1]

Both servers run at the same time with one worker each and a hello-world application; rounds of
load alternate between them, and each round of ours is divided by the bare round beside it. What is
compared is the CPU time that the kernel accounts to the worker, not requests per second: those
depend on whatever else the machine does.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.gunicorn import Gunicorn, running_gunicorn

APP = "benchmarks.hello:app"
PACKAGE = "gunicorn_prometheus_exporter"
WORKERS = {
    "sync": ("sync", f"{PACKAGE}.PrometheusWorker", ()),
    "gthread": ("gthread", f"{PACKAGE}.PrometheusThreadWorker", ("--threads", "4")),
    "gevent": ("gevent", f"{PACKAGE}.PrometheusGeventWorker", ()),
    "asgi": ("asgi", f"{PACKAGE}.PrometheusASGIWorker", ()),
    "uvicorn": ("uvicorn_worker.UvicornWorker", f"{PACKAGE}.PrometheusUvicornWorker", ()),
}
ASGI_APP = "benchmarks.hello:asgi_app"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Load(NamedTuple):
    """What one round cost."""

    requests: int
    cpu: float
    """CPU seconds of the worker."""

    @property
    def micros(self) -> float:
        """CPU microseconds of one request."""
        return self.cpu / self.requests * 1e6


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time, user and system, of all threads of `pids`, to the nanosecond."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def load_with_wrk(port: int, seconds: float) -> int:
    """Load the server with wrk; return how many requests were answered."""
    command = ["wrk", "-t1", "-c4", f"-d{max(1, round(seconds))}s", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+) requests in", output)
    assert match is not None, output
    return int(match[1])


def load_with_python(port: int, seconds: float) -> int:
    """Load the server from here, one request after the other; return how many were answered."""
    deadline = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < deadline:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(REQUEST)
            while client.recv(65536):
                pass
        count += 1
    return count


def measure(server: Gunicorn, seconds: float) -> Load:
    """Load `server` for a while and return what that cost its workers."""
    load = load_with_wrk if shutil.which("wrk") else load_with_python
    workers = server.worker_pids()
    before = cpu_seconds(workers)
    requests = load(server.port, seconds)
    return Load(requests, cpu_seconds(workers) - before)


def compare(bare: Gunicorn, ours: Gunicorn, rounds: int, seconds: float) -> list[float]:
    """Return the ratio of each pair of rounds, whose order alternates."""
    for server in (bare, ours):
        measure(server, seconds)
    ratios = []
    print("round   bare us/request   ours us/request   ratio")
    for number in range(1, rounds + 1):
        pair = [bare, ours] if number % 2 else [ours, bare]
        loads = {server: measure(server, seconds).micros for server in pair}
        ratios.append(loads[ours] / loads[bare])
        print(f"{number:5} {loads[bare]:17.1f} {loads[ours]:17.1f} {ratios[-1]:7.3f}", flush=True)
    return ratios


def arguments() -> argparse.Namespace:
    """Return the command line, parsed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", choices=WORKERS, default="sync")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=1.0)
    return parser.parse_args()


def main() -> None:
    """Measure and print the median ratio."""
    chosen = arguments()
    bare_class, our_class, extra = WORKERS[chosen.worker]
    app = ASGI_APP if chosen.worker in ("asgi", "uvicorn") else APP
    options: dict[str, Any] = {"workers": 1, "args": extra}
    with (
        running_gunicorn(app, worker_class=bare_class, expect_metrics=False, **options) as bare,
        running_gunicorn(app, worker_class=our_class, **options) as ours,
    ):
        ratios = compare(bare, ours, chosen.rounds, chosen.seconds)
    middle = statistics.median(ratios)
    print(f"{chosen.worker}: {middle:.3f} times the CPU of the bare worker (goal: at most 1.02)")


if __name__ == "__main__":
    main()

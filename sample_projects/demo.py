"""Start the sample shop with metrics, send it some traffic, show where to look, until Ctrl-C.

DEMO_SECONDS ends it by itself after that many seconds.
"""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Request = tuple[str, str, str]

CUSTOMERS: list[Request] = [
    ("GET", "/", ""),
    ("GET", "/products", ""),
    *[("GET", f"/products/{number}", "") for number in (1, 2, 3, 4, 3, 2)],
    ("GET", "/products/999", ""),
    ("GET", "/wp-login.php", ""),
    ("POST", "/orders", "product=1&card=valid"),
    ("POST", "/orders", "product=3&card=valid"),
    ("POST", "/orders", "product=2&card=declined"),
    ("GET", "/report", ""),
]
"""What customers ask for: most of it works, some is missing, one fails, one is slow."""

SHOWN = (
    "gunicorn_workers ",
    "gunicorn_worker_requests_total",
    "gunicorn_requests_total",
    "gunicorn_request_exceptions_total",
    "shop_orders_total",
)
"""The beginnings of the lines of the excerpt."""


class Stopped(Exception):
    """Somebody wants the demo to end."""


def choose_port(wanted: int) -> int:
    """Return `wanted` if it is free, else a free port, and say so."""
    for port in (wanted, 0):
        try:
            with socket.create_server((HOST, port)) as listener:
                chosen: int = listener.getsockname()[1]
        except OSError:
            print(f"Port {wanted} is taken: another one is used instead.")
        else:
            return chosen
    raise SystemExit("There is no free port.")


def ask(port: int, request: Request) -> bytes:
    """Send one request and return the body of the answer."""
    method, path, body = request
    client = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        client.request(method, path, body or None, FORM if body else {})
        return client.getresponse().read()
    finally:
        client.close()


def wait_for_port(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until somebody listens on `port`; raise ChildProcessError where the server ends."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise ChildProcessError("the server did not start")


@contextmanager
def shop(port: int, metrics_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the shop under gunicorn with two workers; stop it at the end."""
    gunicorn = Path(sys.executable).with_name("gunicorn")
    config = HERE / "gunicorn_simple.conf.py"
    command = [str(gunicorn), "-c", str(config), "--bind", f"{HOST}:{port}"]
    settings = {"PROMETHEUS_METRICS_PORT": str(metrics_port), "PROMETHEUS_BIND_ADDRESS": HOST}
    with tempfile.TemporaryFile() as log:
        # A session of its own: Ctrl-C reaches this program alone, which then stops the server.
        server = subprocess.Popen(
            command, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield server
        except ChildProcessError as error:
            raise SystemExit(f"{error}:\n{read(log)}") from None
        finally:
            server.terminate()
            server.wait()


def read(log: IO[bytes]) -> str:
    """Return what the server has written."""
    log.seek(0)
    return log.read().decode(errors="replace")


def excerpt(metrics: str) -> str:
    """Return some telling lines of `metrics`."""
    return "\n".join(line for line in metrics.splitlines() if line.startswith(SHOWN))


def show(port: int, metrics_port: int) -> None:
    """Print where to look and what there is to see."""
    metrics = ask(metrics_port, ("GET", "/metrics", "")).decode()
    print(f"\n{excerpt(metrics)}\n")
    print(f"The shop      http://{HOST}:{port}/")
    print(
        f"Its metrics   http://{HOST}:{metrics_port}/metrics   ({len(metrics.splitlines())} lines)"
    )
    print("\nCustomers keep coming. Ctrl-C ends it.", flush=True)


def serve_customers(server: subprocess.Popen[bytes], port: int, seconds: float) -> None:
    """Send a few requests each second, for `seconds`."""
    deadline = time.monotonic() + seconds
    for request in itertools.cycle(CUSTOMERS):
        if time.monotonic() >= deadline:
            return
        if server.poll() is not None:
            raise ChildProcessError("the server has ended")
        ask(port, request)
        time.sleep(0.2)


def stop(signum: int, frame: object) -> None:
    """Turn a signal into an exception, so that everything is cleaned up."""
    raise Stopped


def main() -> None:
    """Run the demo."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    try:
        port, metrics_port = choose_port(8000), choose_port(9091)
        with shop(port, metrics_port) as server:
            wait_for_port(server, port)
            wait_for_port(server, metrics_port)
            print(f"Sending {5 * len(CUSTOMERS)} requests to the shop ...", flush=True)
            for request in CUSTOMERS * 5:
                ask(port, request)
            show(port, metrics_port)
            serve_customers(server, port, float(os.environ.get("DEMO_SECONDS") or "inf"))
    except Stopped:
        print()
    print("The shop is closed; nothing is left behind.")


if __name__ == "__main__":
    main()

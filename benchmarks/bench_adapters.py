"""CPU time that each framework adapter adds to a request, beside its best-known peer.

    PYTHONPATH=. python benchmarks/bench_adapters.py [--framework django] [--rounds 9]

Everything happens in process, without a server: the application is called as a server calls it,
bare, with our adapter, and with the peer, each in a process of its own; rounds alternate. The
adapter is measured twice: where it records the request itself, as the peers do, and under a worker
of ours, where it only names the request. The peers write the files of prometheus_client's
multiprocess mode, as they have to under gunicorn. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import adapter_apps

PEERS = {
    "django": "django_prometheus",
    "flask": "prometheus_flask_exporter",
    "pyramid": "pyramid_prometheus",
    "fastapi": "prometheus_fastapi_instrumentator",
    "starlette": "starlette_exporter",
}
REQUESTS = 2000


class Variant:
    """One application in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Ask `process` for rounds."""
        self._process = process

    def round(self) -> float:
        """Run one round; return the CPU microseconds of one request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{REQUESTS}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended")
        return float(line)


@contextmanager
def started(framework: str, variant: str) -> Iterator[Variant]:
    """Start the process of one variant; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ)
        if variant == "peer":
            env["PROMETHEUS_MULTIPROC_DIR"] = folder
        command = [sys.executable, __file__, "--serve", framework, variant]
        with subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield Variant(process)


def serve(framework: str, variant: str) -> None:
    """Run a round for each line of standard input and print its CPU microseconds per request."""
    if variant == "naming":
        adapter_apps.pretend_worker()
    make = getattr(adapter_apps, framework)
    batch: adapter_apps.Batch = make("ours" if variant == "naming" else variant)
    for line in sys.stdin:
        count = int(line)
        before = time.process_time()
        batch(count)
        print((time.process_time() - before) / count * 1e6, flush=True)


def variants_of(framework: str) -> list[str]:
    """Return what can be compared here."""
    installed = importlib.util.find_spec(PEERS[framework]) is not None
    ours = ["bare", "naming", "ours"]
    return [*ours, "peer"] if installed else ours


def compare(framework: str, rounds: int) -> None:
    """Print the medians of all variants, and what each adds to the bare application."""
    with ExitStack() as stack:
        variants = {
            name: stack.enter_context(started(framework, name)) for name in variants_of(framework)
        }
        for variant in variants.values():
            variant.round()
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, variant in variants.items():
                times[name].append(variant.round())
    bare = statistics.median(times["bare"])
    added = {
        name: statistics.median(
            mine - base for mine, base in zip(times[name], times["bare"], strict=True)
        )
        for name in variants
        if name != "bare"
    }
    shown = f"{added['peer']:10.1f}  {PEERS[framework]}" if "peer" in added else "         -"
    print(
        f"{framework:10} {bare:12.1f} {added['naming']:12.1f} {added['ours']:10.1f} {shown}",
        flush=True,
    )


def main() -> None:
    """Compare one framework, or all that are installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--framework", choices=PEERS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(*chosen.serve)
        return
    print("CPU us     bare request  naming adds  ours adds  peer adds")
    for framework in [chosen.framework] if chosen.framework else PEERS:
        if importlib.util.find_spec(framework) is not None:
            compare(framework, chosen.rounds)


if __name__ == "__main__":
    main()

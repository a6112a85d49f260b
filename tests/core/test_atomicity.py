"""The claim on which everything rests: an update is never lost, and needs no lock.

It is a property of the interpreter, so it is tried on every Python that this machine has.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gunicorn_prometheus_exporter

CORE = Path(gunicorn_prometheus_exporter.__file__).parents[1]

PROGRAM = """
import signal, sys, threading
sys.path.insert(0, sys.argv[1])
from gunicorn_prometheus_exporter.storage.memory import MemoryVolume
from gunicorn_prometheus_exporter.storage.store import Store

sys.setswitchinterval(1e-6)
store = Store()
store.attach(MemoryVolume.create(), "worker", 100)
cell = store.cell("counter", b'["hits", "hits_total", {}, "h"]')
interrupted = 0

def interrupt(*_):
    global interrupted
    interrupted += 1
    cell.add(1.0)

signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)

def work():
    for _ in range(100_000):
        cell.add(1.0)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    cell.add(1.0)
    cell.add(-1.0)
signal.setitimer(signal.ITIMER_REAL, 0)
print(int(cell.get()) - 400_000 - interrupted, interrupted)
"""


def _pythons() -> list[str]:
    """Return one interpreter for each version of Python that is supported and can be started."""
    named = [f"python3.{minor}" for minor in (10, 11, 12, 13, 14)]
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1*/bin/python3"))
    found = [sys.executable, *filter(None, map(shutil.which, named)), *map(str, pyenv)]
    asked = "import sys; print(sys.version_info[:2])"
    versions = {}
    for python in found:
        ran = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
        if ran.returncode == 0 and ran.stdout.startswith("(3, 1"):
            versions.setdefault(ran.stdout, python)
    return list(versions.values())


@pytest.mark.parametrize("python", _pythons())
def test_no_update_is_lost_to_threads_or_signal_handlers(python: str) -> None:
    ran = subprocess.run(
        [python, "-c", PROGRAM, str(CORE)], capture_output=True, text=True, check=True, timeout=100
    )

    lost, interrupted = map(int, ran.stdout.split())
    assert lost == 0
    assert interrupted > 0

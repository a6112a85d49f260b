"""A worker that lacks what it needs does not start; the last line of the log says what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.gunicorn import ROOT, Gunicorn
from tests.support.versions import folder

WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {names!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
"""Makes packages absent that are installed."""


def last_line_of_start(worker: str, path: Sequence[Path]) -> str:
    """Return the last line that gunicorn writes when it fails to start with `worker`."""
    server = Gunicorn(
        worker_class=f"gunicorn_prometheus_exporter.{worker}",
        env={"PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))},
        wait=False,
    )
    try:
        assert server.start().wait_end() == 1
        return server.log_text().splitlines()[-1]
    finally:
        server.destroy()


@pytest.mark.parametrize(
    ("worker", "package", "extra"),
    [
        ("PrometheusGeventWorker", "gevent", "gevent"),
        ("PrometheusGeventWorker", "packaging", "gevent"),
        ("PrometheusEventletWorker", "eventlet", "eventlet"),
        ("PrometheusUvicornWorker", "uvicorn_worker", "uvicorn"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, worker: str, package: str, extra: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(names={package}))

    line = last_line_of_start(worker, [tmp_path])

    assert f"{worker} needs {package}: " in line
    assert f'pip install "gunicorn-prometheus-exporter[{extra}]"' in line


def test_the_asgi_worker_asks_for_a_newer_gunicorn() -> None:
    line = last_line_of_start("PrometheusASGIWorker", [folder("22.0.0")])

    assert "PrometheusASGIWorker needs gunicorn >= 24, this is 22.0.0: " in line
    assert 'pip install "gunicorn>=24"' in line

"""The releases of gunicorn to test with, besides the installed one.

Each lies in a folder of its own, made by `pip install --target`, and is put first on the path of
the server's process; so one environment serves for all of them. `make test` prepares them in the
environment's folder; `GPE_TEST_GUNICORNS` ("22.0.0=/folder,23.0.0=/folder") names others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gunicorn
import pytest

OLDER = ("22.0.0", "23.0.0", "25.3.0")
"""The releases where gunicorn changed what we build on; the installed one is the newest."""


def installed_version() -> tuple[int, ...]:
    """Return the version of the gunicorn in this environment."""
    version: tuple[int, ...] = gunicorn.version_info
    return version


def _named() -> dict[str, Path]:
    pairs = os.environ.get("GPE_TEST_GUNICORNS", "").split(",")
    return {name: Path(path) for name, _, path in (pair.partition("=") for pair in pairs) if path}


def folder(version: str) -> Path:
    """Return the folder that holds gunicorn `version`; skip the test where it was not prepared."""
    path = _named().get(version, Path(sys.prefix) / f"gunicorn-{version}")
    if not (path / "gunicorn").is_dir():
        pytest.skip(f"gunicorn {version} is not prepared: run `make test`")
    return path


def skip_without_asgi_worker(worker: str, version: str | None) -> None:
    """Skip the test where `worker` names the ASGI worker and the installed gunicorn has none."""
    if "PrometheusASGIWorker" in worker and version is None and installed_version() < (24,):
        pytest.skip("gunicorn has an ASGI worker from 24 on")


def version_id(version: str | None) -> str:
    """Return how a test's name shows `version`; None is the installed one."""
    return version or "installed"


every_gunicorn = pytest.mark.parametrize("gunicorn_version", [*OLDER, None], ids=version_id)
"""Run a test on each release; it takes the argument `gunicorn_version`."""

oldest_and_newest = pytest.mark.parametrize("gunicorn_version", [OLDER[0], None], ids=version_id)
"""Run a test on both ends of the supported range."""
